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


@pytest.mark.parametrize("place", ["train/dog/c.png", "test/dog/c.png"])
def test_one_file_with_colour_makes_all_rgb(root, place):
    grey_ones = folders.read(root, 0)
    write(root / place, rgb(0) + np.array([1, 2, 3], np.uint8))
    data = folders.read(root, 0)
    assert data.image_shape == (2, 2, 3)
    split = data.train if place.startswith("train") else data.test
    np.testing.assert_array_equal(split.images[-1, 0, 0], [1, 2, 3])
    np.testing.assert_array_equal(data.train.images[0], np.repeat(grey_ones.train.images[0], 3, -1))


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


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "P, one entry"])
@pytest.mark.filterwarnings("error")
def test_a_transparent_image_has_the_pixels_that_predict_sees(tmp_path, mode):
    """Its stored colours, whatever shines through: Keras' and torchvision's loaders do the same."""
    alpha = np.array([[0, 128], [255, 7]], np.uint8)
    colours = np.arange(12, dtype=np.uint8).reshape(2, 2, 3) * 20
    for role in ("train", "test"):
        path = tmp_path / role / "a" / "1.png"
        path.parent.mkdir(parents=True)
        if mode == "RGBA":
            Image.fromarray(np.dstack([colours, alpha])).save(path)
            expected = colours
        elif mode == "LA":
            Image.fromarray(np.dstack([colours[..., 0], alpha])).save(path)
            expected = colours[..., :1]
        else:
            picture = Image.fromarray(np.array([[0, 1], [2, 3]], np.uint8), "P")
            picture.putpalette(colours.reshape(-1).tolist())
            # One entry see-through, or each with its own.
            picture.save(path, transparency=1 if mode == "P, one entry" else alpha.tobytes())
            expected = colours
    images = folders.read(tmp_path, 0).train.images
    np.testing.assert_array_equal(images, expected[np.newaxis])
    np.testing.assert_array_equal(images[0], read_picture(path, expected.shape))


def test_bad_files_are_told_at_once(root, tmp_path_factory):
    (root / "train/dog/notes.txt").touch()
    (root / "train/dog/broken.jpg").write_bytes(b"no image")
    cut = root / "test/cat/cut.png"
    cut.write_bytes((root / "test/cat/a.png").read_bytes()[:40])
    write(root / "test/dog/large.png", grey(60, size=4))
    (root / "test/dog/link.png").symlink_to(tmp_path_factory.mktemp("outside") / "a.png")
    with pytest.raises(ValueError) as error:
        folders.read(root, 0)
    message = str(error.value)
    assert "\n" not in message
    assert message.count("Received: ") == 4
    for name in ("notes.txt", "broken.jpg", "cut.png", "large.png of 4x4", "link.png, which"):
        assert name in message


def test_of_many_bad_files_ten_are_named(root):
    for number in range(14):
        (root / f"train/dog/x{number:02}.jpg").write_bytes(b"no image")
    with pytest.raises(ValueError) as error:
        folders.read(root, 0)
    assert str(error.value).count(".jpg: ") == 10
    assert "; and 4 more. Convert it, or leave it out." in str(error.value)


def test_where_no_file_can_be_read_all_are_told(tmp_path):
    for name in ("a/1.png", "b/1.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"a/1\.png: .*b/1\.png: "):
        folders.read(tmp_path, 0)


def test_images_may_be_resized_to_height_and_width(root):
    data = folders.read(root, "3x5")
    assert data.image_shape == (3, 5, 1)
    assert data.train.images[:, 0, 0, 0].tolist() == [10, 20, 0]


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
