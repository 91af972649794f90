"""Each kind of kernel of Keras 3 in the files, as the table of docs/keras3.md says."""

import pathlib

import keras as keras3
import numpy as np
import pytest

from tests.export import keras3_kinds as kinds
from tfqkd.compat import keras, tf
from tfqkd.core.schemes import TernaryScheme
from tfqkd.export import ExportError
from tfqkd.export.exporter import export
from tfqkd.export.twin import twin
from tfqkd.export.twin_layers import require_twin
from tfqkd.fronts import keras3 as front

pytestmark = [
    pytest.mark.skipif(
        keras3.backend.backend() != "tensorflow", reason="Twins are made on TensorFlow."
    ),
    pytest.mark.usefixtures("in_this_process"),
]
PAGE = pathlib.Path(__file__).parents[2] / "docs" / "keras3.md"
FORMATS = ("litert-int2", "litert-int8", "litert-int8-full", "onnx-int2")
REFUSED = {
    "that loops over the steps, with": "refused: loops",
    "takes floats alone": "refused: floats alone",
    "grouped convolutions are such": "refused: grouped",
    "LiteRT has no int8 operator": "refused: no operator",
    "which has none": "refused: no twin",
}
"""What the table says of an error, by a part of its message."""
QUICK = ("Embedding",)


def table():
    """The rows of the table, by kind."""
    lines = PAGE.read_text().split("| kernels of |")[1].splitlines()[2:]
    rows = [line.strip("|").split("|") for line in lines[: lines.index("")]]
    return {kind.strip(" `"): [cell.strip() for cell in cells] for kind, *cells in rows}


def in_file(model, kernels, form, directory):
    """What a file makes of the kernels of the layer, in the words of the table."""
    images = kinds.pixels(8)
    try:
        (report,) = export(model, directory, form, images=images, calibration=images)
    except ExportError as error:
        assert f"'{kinds.NAME}" in str(error)
        return next(said for part, said in REFUSED.items() if part in str(error))
    own = [size for size in report.layers if size.layer.startswith(kinds.NAME)]
    if not own and kinds.NAME in report.float_layers:
        return "listed as float"
    assert len(own) == kernels and "head" in report.float_layers
    (type_,) = {size.type for size in own}
    if form != "litert-int8-full":
        assert len(report.quantized) == kernels
    return {"int2": "2 bits", "int8": "int8"}[type_]


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=() if kind in QUICK else pytest.mark.slow) for kind in kinds.KINDS],
)
def test_a_kernel_is_in_the_file_as_the_table_says(kind, tmp_path):
    quantized = front.quantize_model(kinds.build(kind), TernaryScheme("channel"), [kinds.NAME])
    stripped = front.strip_quantization(quantized)
    kernels = len(list(front.quantized_kernels(quantized)))
    try:
        require_twin(quantized)
    except ValueError as error:
        (cell,) = [said for part, said in REFUSED.items() if part in str(error)]
        found = [cell] * len(FORMATS)
    else:
        model = twin(stripped)
        assert model.quantized_layers == {kinds.NAME}
        found = [in_file(model, kernels, form, tmp_path) for form in FORMATS]
    assert [str(kernels), *found] == table()[kind]


def test_the_table_has_all_kinds():
    assert set(table()) == set(kinds.KINDS)


def test_codes_that_no_file_holds_are_refused_by_name(tmp_path):
    model = twin(front.strip_quantization(kinds.build("Dense")))
    assert model.quantized_layers == frozenset()
    # As it is told by the process in which the layer is quantized.
    model.quantized_layers = frozenset([kinds.NAME])
    with pytest.raises(ExportError, match="layer 'kind', whose kernel in the file has no codes"):
        export(model, tmp_path, "onnx-int2", images=kinds.pixels(8))


def test_the_twin_is_a_file_of_tf_keras_and_of_tensorflow_too(tmp_path):
    built = kinds.build("Conv2D")
    images = kinds.pixels(4)
    reports = export(twin(built), tmp_path, "keras,saved_model", images=images)
    loaded = keras.models.load_model(reports[0].path)
    expected = built.predict(images, verbose=0)
    np.testing.assert_allclose(loaded.predict(images, verbose=0), expected, rtol=1e-4, atol=1e-5)
    serve = tf.saved_model.load(reports[1].path).signatures["serving_default"]
    (served,) = serve(images=tf.constant(images, tf.float32)).values()
    np.testing.assert_allclose(served, expected, rtol=1e-4, atol=1e-5)
