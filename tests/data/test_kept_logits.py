import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfqkd.data import kept_logits as module
from tfqkd.data.kept_logits import whole_logits, write_logits

COUNT, CLASSES, BLOCK = 23, 3, 5
VALUES = np.random.default_rng(0).normal(0, 30, (COUNT, CLASSES)).astype(np.float32)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", BLOCK)


def write(directory, stop_at=COUNT, asked=None):
    """Writes VALUES; the teacher dies when it is asked for the example `stop_at`."""

    def logits_of(start, stop):
        if start >= stop_at:
            raise KeyboardInterrupt
        if asked is not None:
            asked.append((start, stop))
        return VALUES[start:stop]

    directory.mkdir(exist_ok=True)
    write_logits(directory, COUNT, CLASSES, logits_of)


def content(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_what_is_read_is_the_nearest_float16(tmp_path):
    write(tmp_path)
    read = np.fromfile(whole_logits(tmp_path, COUNT, CLASSES), "<f2").reshape(COUNT, CLASSES)
    np.testing.assert_array_equal(read, VALUES.astype(np.float16))


@given(st.integers(0, 4))
def test_an_interrupted_writer_goes_on_after_the_last_whole_block(tmp_path_factory, blocks):
    whole, cut = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("cut")
    write(whole)
    with pytest.raises(KeyboardInterrupt):
        write(cut, stop_at=blocks * BLOCK)
    with pytest.raises(ValueError, match="Delete"):
        whole_logits(cut, COUNT, CLASSES)
    asked = []
    write(cut, asked=asked)
    assert asked[0][0] == blocks * BLOCK
    assert content(cut) == content(whole)


def test_bytes_behind_the_last_listed_block_are_written_anew(tmp_path):
    write(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "cut", stop_at=10)
    with (tmp_path / "cut" / "logits.f16").open("ab") as file:
        file.write(b"half a block")
    write(tmp_path / "cut")
    assert content(tmp_path / "cut") == content(tmp_path / "whole")


def test_a_listed_block_that_is_not_on_the_disk_is_written_anew(tmp_path):
    write(tmp_path / "whole")
    write(tmp_path / "torn")
    with (tmp_path / "torn" / "logits.f16").open("r+b") as file:
        file.seek(7 * CLASSES * 2)  # In the second block.
        file.write(b"\xff\xff")
    asked = []
    write(tmp_path / "torn", asked=asked)
    assert asked[0][0] == BLOCK
    assert content(tmp_path / "torn") == content(tmp_path / "whole")


@pytest.mark.parametrize("fault", ["flipped bit", "truncated", "longer", "unlisted", "missing"])
def test_damage_is_named_when_read(tmp_path, fault):
    write(tmp_path)
    path, blocks = tmp_path / "logits.f16", tmp_path / "blocks.json"
    data = bytearray(path.read_bytes())
    data[17] ^= 1
    if fault == "missing":
        path.unlink()
    elif fault == "unlisted":
        blocks.write_text(json.dumps(json.loads(blocks.read_text())[:-1]))
    else:
        changed = {"flipped bit": data, "truncated": data[:-1], "longer": data + b"\0\0"}
        path.write_bytes(bytes(changed[fault]))
    with pytest.raises(ValueError, match=r"logits\.f16"):
        whole_logits(tmp_path, COUNT, CLASSES)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 7e4])
def test_logits_that_float16_cannot_hold_are_refused(tmp_path, bad):
    values = np.full((COUNT, CLASSES), bad, np.float32)
    with pytest.raises(ValueError, match="finite and at most 65504"):
        write_logits(tmp_path, COUNT, CLASSES, lambda start, stop: values[start:stop])


def test_another_number_of_classes_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"logits \[5, 4\]. Received: \[5, 3\]"):
        write_logits(tmp_path, COUNT, 4, lambda start, stop: VALUES[start:stop])


def test_progress_counts_examples_from_where_it_goes_on(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, stop_at=15)
    done = []
    write_logits(tmp_path, COUNT, CLASSES, lambda start, stop: VALUES[start:stop], done.append)
    assert done == [15, 20, 23]
