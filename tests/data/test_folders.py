import numpy as np
import pytest
from PIL import Image

from tfqkd.compat import tf
from tfqkd.data import folders
from tfqkd.runtime.pictures import read_picture


def write(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tf.io.encode_png(image).numpy())


def grey(value, size=2):
    return np.full((size, size, 1), value, np.uint8)


def rgb(value, size=2):
    return np.full((size, size, 3), value, np.uint8)


@pytest.fixture
def root(tmp_path):
    """Two classes, whose images are one grey value each, written out of order."""
    for value, name in enumerate(["train/dog/b", "train/cat/z", "train/dog/a", "test/cat/a"]):
        write(tmp_path / f"{name}.png", grey(10 * value))
    write(tmp_path / "test/dog/a.PNG", grey(50))
    return tmp_path


def test_folder_reads_classes_and_files_in_order_of_their_names(root):
    (root / "train/cat/.hidden").write_text("not an image")
    data = folders.read(root, 0)
    assert data.name == f"folder:{root}"
    assert data.class_names == ("cat", "dog")
    assert data.image_shape == (2, 2, 1)
    assert data.train.labels.tolist() == [0, 1, 1]
    assert data.train.images[:, 0, 0, 0].tolist() == [10, 20, 0]
    assert data.test.labels.tolist() == [0, 1]
    assert data.test.images[:, 1, 1, 0].tolist() == [30, 50]


def test_folder_keeps_pixels_and_channels_in_their_place(tmp_path):
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    write(tmp_path / "train/a/1.png", image)
    write(tmp_path / "test/a/1.png", image[::-1])
    data = folders.read(tmp_path, 0)
    np.testing.assert_array_equal(data.train.images, image[np.newaxis])
    np.testing.assert_array_equal(data.test.images, image[np.newaxis, ::-1])


def test_folder_reads_jpeg(root):
    path = root / "train/cat/photo.jpeg"
    path.write_bytes(tf.io.encode_jpeg(grey(100)).numpy())
    np.testing.assert_allclose(folders.read(root, 0).train.images[0], grey(100), atol=2)


def test_a_model_is_trained_on_the_pixels_that_it_is_asked_about(root):
    noted = Image.Exif()
    noted[0x0112] = 6  # TIFF 6.0, tag Orientation: the camera lay on its side.
    pixels = np.random.default_rng(0).integers(0, 256, (12, 9), np.uint8)
    path = root / "train/cat/photo.png"
    Image.fromarray(pixels).save(path, exif=noted)
    image = folders.read(root, 5).train.images[0]
    np.testing.assert_array_equal(image, read_picture(path, (5, 5, 1)))
    upright = Image.fromarray(np.rot90(pixels, -1)).resize((5, 5), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(image[..., 0], upright)


def test_folder_without_splits_takes_one_image_in_five_for_testing(tmp_path):
    for value in range(20):
        write(tmp_path / f"{'cat' if value < 10 else 'dog'}/{value:02}.png", grey(value))
    data = folders.read(tmp_path, 0)
    assert data.class_names == ("cat", "dog")
    assert np.bincount(data.test.labels).tolist() == [2, 2]
    values = [split.images[:, 0, 0, 0].tolist() for split in (data.train, data.test)]
    assert sorted(values[0] + values[1]) == list(range(20))
    assert (data.train.labels == (np.array(values[0]) >= 10)).all()


def test_grey_files_among_rgb_ones_become_rgb(tmp_path):
    write(tmp_path / "train/a/1.png", rgb(7))
    write(tmp_path / "train/a/2.png", grey(9))
    write(tmp_path / "test/a/1.png", rgb(7))
    data = folders.read(tmp_path, 0)
    np.testing.assert_array_equal(data.train.images, [rgb(7), rgb(9)])


def test_rgb_file_among_grey_ones_is_refused(root):
    write(root / "train/dog/c.png", rgb(0))
    with pytest.raises(ValueError, match=r"must all be grey.*dog/c\.png, which is RGB"):
        folders.read(root, 0)


def test_images_of_many_sizes_need_a_size(root):
    write(root / "test/dog/b.png", grey(60, size=4))
    with pytest.raises(ValueError, match=r"Received: .*dog/b\.png of 4x4. Set `image_size`"):
        folders.read(root, 0)
    data = folders.read(root, 3)
    assert data.image_shape == (3, 3, 1)
    assert data.test.images[:, 0, 0, 0].tolist() == [30, 50, 60]


def test_file_that_does_not_decode_is_named(root):
    (root / "train/dog/broken.jpg").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"a readable PNG or JPEG.*Received: .*broken\.jpg"):
        folders.read(root, 0)


def test_transparent_image_is_refused(root):
    write(root / "train/dog/c.png", np.zeros((2, 2, 4), np.uint8))
    with pytest.raises(ValueError, match=r"c\.png of mode RGBA"):
        folders.read(root, 0)


def test_file_of_another_kind_is_refused(root):
    (root / "train/dog/notes.txt").write_text("notes")
    with pytest.raises(ValueError, match=r"files only. Received: .*notes\.txt"):
        folders.read(root, 0)


def test_splits_must_have_the_same_classes(root):
    write(root / "test/bird/a.png", grey(0))
    with pytest.raises(ValueError, match="in one of them only: bird"):
        folders.read(root, 0)


@pytest.mark.parametrize("name", ["train/empty", "only/empty"])
def test_empty_class_is_refused(tmp_path, root, name):
    folder = tmp_path / "flat" / name if name.startswith("only") else root / name
    folder.mkdir(parents=True)
    with pytest.raises(ValueError, match=r"at least one image\. Received: .*empty"):
        folders.read(folder.parent if name.startswith("only") else root, 0)


def test_empty_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="which is empty"):
        folders.read(tmp_path, 0)


def test_missing_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="`folder:PATH` must name a folder"):
        folders.read(tmp_path / "nowhere", 0)


@pytest.mark.parametrize("change", ["no test", "a third split"])
def test_layout_with_other_than_train_and_test_is_refused(root, change):
    if change == "no test":
        (root / "test").rename(root.parent / "moved")
    else:
        write(root / "validation/cat/a.png", grey(0))
    with pytest.raises(ValueError, match="must hold `train` and `test` and nothing else"):
        folders.read(root, 0)


@pytest.mark.parametrize("link", ["train/dog/c.png", "train/bird", "test"])
def test_links_that_leave_the_folder_are_refused(root, tmp_path_factory, link):
    outside = tmp_path_factory.mktemp("outside")
    write(outside / "a.png", grey(0))
    if link == "test":
        (root / "test").rename(outside / "test")
    (root / link).symlink_to(
        {"train/dog/c.png": outside / "a.png", "train/bird": outside, "test": outside / "test"}[
            link
        ]
    )
    with pytest.raises(ValueError, match="Links must stay inside"):
        folders.read(root, 0)


def test_links_inside_the_folder_are_followed(root):
    (root / "train/dog/c.png").symlink_to(root / "test/dog/a.PNG")
    assert folders.read(root, 0).train.images[:, 0, 0, 0].tolist() == [10, 20, 0, 50]
