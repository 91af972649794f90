import pytest

from tfqkd.data.places import how_to_place, require_place


def test_a_place_that_is_there_passes(tmp_path):
    require_place(f"folder:{tmp_path}")
    (tmp_path / "cifar100").mkdir()
    require_place("cifar100", str(tmp_path))
    require_place("cifar100:3.0.2", str(tmp_path))
    require_place("cifar100", str(tmp_path / "none"), download=True)
    require_place("digits", str(tmp_path / "none"))
    require_place("cifar10")


def test_a_data_set_that_is_in_no_directory_of_its_name_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"Received: 'mnist', which is not in {tmp_path}"):
        require_place("mnist", str(tmp_path))
    with pytest.raises(ValueError, match=r"Received: 'cifr10'\. Did you mean cifar10 "):
        require_place("cifr10", str(tmp_path))


def test_a_folder_that_is_missing_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for name in ("none", "file"):
        with pytest.raises(ValueError, match=f"must name a folder.*Received: 'folder:{tmp_path}/"):
            require_place(f"folder:{tmp_path / name}")


def test_a_directory_of_data_sets_that_is_missing_is_refused_with_what_belongs_there(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        require_place("cifar100:3.0.2", str(tmp_path / "none"))
    assert f"Received: data_dir='{tmp_path}/none', which is none." in str(error.value)
    assert str(error.value).endswith(how_to_place("cifar100:3.0.2"))
    assert "copy its directory to DIR/cifar100/VERSION (*.tfrecord*, " in str(error.value)
