import numpy as np
import pytest

from tfqkd.runtime.inputs import batches, checked_inputs, filled
from tfqkd.runtime.signature import Tensor

ROW = Tensor((None, 3), np.dtype(np.float32))
WORDS = Tensor((None, 4), np.dtype(np.int32))
BOTH = {"row": ROW, "words": WORDS}
row, words = np.ones((2, 3)), np.arange(8).reshape(2, 4)


@pytest.mark.parametrize(("count", "sizes"), [(1, [1]), (64, [64]), (130, [64, 64, 2])])
def test_batches_cover_all_examples_of_all_inputs_in_order(count, sizes):
    inputs = {"images": np.arange(count), "row": -np.arange(count)}
    parts = list(batches(inputs))
    assert [len(part["images"]) for part in parts] == sizes
    for name, values in inputs.items():
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), values)


@pytest.mark.parametrize(
    "given",
    [[row, words], (row, words), {"words": words, "row": row}],
    ids=["list", "tuple", "dict"],
)
def test_several_inputs_come_in_order_or_by_name(given):
    found = checked_inputs(given, BOTH)
    assert list(found) == ["row", "words"]
    assert [value.dtype for value in found.values()] == [np.float32, np.int32]
    np.testing.assert_array_equal(found["row"], row)
    np.testing.assert_array_equal(found["words"], words)


def test_one_input_is_a_batch_or_a_dict():
    for given in (row, row.tolist(), {"row": row}):
        np.testing.assert_array_equal(checked_inputs(given, {"row": ROW})["row"], row)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (row, ValueError, "a batch for each input: row, words. Received: ndarray"),
        ([row], ValueError, "a batch for each input: row, words. Received: 1"),
        ({"row": row, "word": words}, ValueError, "must be row, words. Received: row, word"),
        (
            [row, words[:1]],
            ValueError,
            r"the same number of examples. Received: {'row': 2, 'words': 1}",
        ),
        ([row[0], words], ValueError, r"`row` must have the shape \[N, 3\].*Received: \[3\]"),
        ([row[:0], words[:0]], ValueError, "N ≥ 1"),
        ([row, words[:, :2]], ValueError, r"`words` must have the shape \[N, 4\]"),
        ([row, words.astype(float)], TypeError, "`words` must be numbers of the type int32"),
    ],
)
def test_what_does_not_fit_is_refused(given, error, message):
    with pytest.raises(error, match=message):
        checked_inputs(given, BOTH)


def test_a_short_batch_is_filled_with_its_last_example():
    assert filled(np.array([1, 2]), 2).tolist() == [1, 2, 2, 2]
    assert filled(np.array([1, 2]), 0).tolist() == [1, 2]
