"""TFRecord files as TensorFlow writes them."""

import pytest

from tfqkd.compat import tf
from tfqkd.data import tfrecords as module
from tfqkd.data.tfrecords import masked_checksums, records

CONTENTS = [b"", b"a", bytes(range(256)) * 7, b"123456789", b"\xff" * 100]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "some.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for content in CONTENTS:
            writer.write(content)
    return path


@pytest.mark.parametrize("at_once", [1, 300, 1 << 20])
def test_records_are_those_that_tensorflow_has_written(file, monkeypatch, at_once):
    monkeypatch.setattr(module, "_AT_ONCE", at_once)
    assert list(records(file)) == CONTENTS


def test_the_checksum_is_the_published_one():
    # CRC-32C of these digits is 0xE3069283; it is turned right by 15 bits, and a constant added.
    turned = ((0xE3069283 >> 15) | (0xE3069283 << 17)) & 0xFFFFFFFF
    expected = (turned + 0xA282EAD8) & 0xFFFFFFFF
    assert masked_checksums([b"x", b"123456789", b""])[1] == expected


@pytest.mark.parametrize("place", [0, 7, 9, 12, 20, -1])
def test_what_is_damaged_is_named(file, place):
    content = bytearray(file.read_bytes())
    content[place] ^= 0x80
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"some\.tfrecord, which has a wrong checksum"):
        list(records(file))


def test_what_is_cut_off_is_named(file):
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(ValueError, match=r"some\.tfrecord, which has a wrong checksum"):
        list(records(file))
