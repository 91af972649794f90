import pytest

from tfqkd.data import load
from tfqkd.data.locations import how_to_provide, require_location


def test_a_place_that_is_there_passes(tmp_path):
    require_location(f"folder:{tmp_path}")
    (tmp_path / "cifar100").mkdir()
    require_location("cifar100", str(tmp_path))
    require_location("cifar100:3.0.2", str(tmp_path))
    require_location("cifar100", str(tmp_path / "none"), download=True)
    require_location("digits", str(tmp_path / "none"))
    require_location("cifar10")


def test_a_data_set_that_is_in_no_directory_of_its_name_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"Received: 'mnist', which is not in {tmp_path}"):
        require_location("mnist", str(tmp_path))
    with pytest.raises(ValueError, match=r"Received: 'cifr10'\. Did you mean cifar10 "):
        require_location("cifr10", str(tmp_path))


def test_a_folder_that_is_missing_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for name in ("none", "file"):
        with pytest.raises(ValueError, match=f"must name a folder.*Received: 'folder:{tmp_path}/"):
            require_location(f"folder:{tmp_path / name}")


def test_a_directory_of_data_sets_that_is_missing_is_refused_with_what_belongs_there(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        require_location("cifar100:3.0.2", str(tmp_path / "none"))
    assert f"Received: data_dir='{tmp_path}/none', which is no directory." in str(error.value)
    assert str(error.value).endswith(how_to_provide("cifar100:3.0.2"))
    assert "copy its directory to DIR/cifar100/VERSION (*.tfrecord*, " in str(error.value)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with a folder of images, and one of TensorFlow Datasets."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures" / "cat").mkdir(parents=True)
    for place in ("kept/cifar10/3.0.2", "kept/imagenet_resized/32x32/0.1.0"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "dataset_info.json").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("{here}/pictures", "`folder:{here}/pictures`"),
        ("./pictures", "`folder:./pictures`"),
        ("pictures/", "`folder:pictures/`"),
        ("pictures", "`folder:pictures`"),
        ("Folder:pictures", "`folder:pictures`"),
        ("file://{here}/pictures", "`folder:{here}/pictures`"),
        ("/no/such/folder", "`folder:/no/such/folder`"),
        ("~/no such folder", "`folder:~/no such folder`"),
        ("C:\\pictures", "`folder:C:\\pictures`"),
        ("{here}/kept/cifar10", "`cifar10`, with `--data_dir={here}/kept`"),
        ("kept/cifar10/3.0.2", "`cifar10`, with `--data_dir={here}/kept`"),
        (
            "./kept/imagenet_resized/32x32",
            "`imagenet_resized/32x32`, with `--data_dir={here}/kept`",
        ),
    ],
)
@pytest.mark.parametrize("refuse", [require_location, load], ids=["command", "python"])
def test_a_path_is_answered_with_the_name_that_it_should_have(here, refuse, name, meant):
    name, meant = name.format(here=here), meant.format(here=here)
    with pytest.raises(ValueError, match=r"A data set is `digits`, `folder:PATH`") as error:
        refuse(name)
    assert f"Received: {name!r}" in str(error.value)
    assert meant in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_a_folder_without_a_path_is_not_the_working_directory(here):
    for refuse in (require_location, load):
        with pytest.raises(ValueError, match="Received: 'folder:', without a path"):
            refuse("folder:")
