"""Other tasks than one class of an image: taught, stripped, and every file computes what the model does."""

import json
import pathlib

import numpy as np
import pytest

import tfqkd
from tests.parameters import some
from tfqkd.cli.predict import main as predict
from tfqkd.compat import keras, tf
from tfqkd.export import export, load
from tfqkd.export.formats import FORMATS
from tfqkd.reporting.measurement import measure_files

from .in_process import files_run_here, run_file
from .tasks import COUNT, TASKS

QUICK = ("saved_model", "litert-float16", "litert-int8-full", "litert-int2", "onnx-int2")
# Files of integers alone take images; tests/export/integer has what they refuse.
_ALL = ",".join(name for name, form in FORMATS.items() if not form.is_integer)


def written(name, directory, formats, **settings):
    """A network that was quantized and taught for an epoch, and the reports of its files."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(1)
    task = TASKS[name]
    model = tfqkd.quantize_model(task.build())
    before = model.get_weights()
    distiller = tfqkd.Distiller(student=model, teacher=task.build())
    distiller.compile("sgd", task.loss)
    history = distiller.fit(task.x, task.y, batch_size=6, verbose=0).history
    assert history["soft_loss"][0] > 0
    assert not all(map(np.array_equal, before, model.get_weights()))
    with files_run_here():
        reports = export(model, directory, formats, images=task.x, calibration=task.x, **settings)
    return model, {report.format: report for report in reports}


def by_name(task, outputs):
    outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    return dict(zip(task.kinds, map(np.asarray, outputs), strict=True))


def require_right(name, model, reports):
    """Each file has the user's names in the user's order, and returns what the model does."""
    task = TASKS[name]
    expected = by_name(task, model(task.x, training=False))
    for form, report in reports.items():
        assert report.output == (
            task.kinds if len(task.kinds) > 1 else next(iter(task.kinds.values()))
        )
        found = run_file([], pathlib.Path(report.path), _arrays(task))
        found = by_name(task, list(found.values())) if len(found) == 1 else found
        for output, values in expected.items():
            loss = {"litert-float16": 1e-2, "litert-int8-full": 0.1}.get(form, 1e-4)
            np.testing.assert_allclose(
                found[output], values, rtol=0, atol=loss * max(1, np.abs(values).max())
            )
        if FORMATS[form].kernel_bits:
            assert [kernel.bits for kernel in report.quantized] == [
                FORMATS[form].kernel_bits
            ] * len(report.quantized)
            assert "middle" in {k.layer for k in report.quantized} or name == "u_net"


def _arrays(task):
    given = task.x if isinstance(task.x, list) else [task.x]
    return {
        name: values.astype(np.int32 if values.dtype == np.int64 else np.float32)
        for name, values in zip(task.inputs, given, strict=True)
    }


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) for n in TASKS])
@pytest.mark.parametrize("batch_size", [None, 5])
def test_every_file_of_a_task_computes_what_the_model_does(name, batch_size, tmp_path):
    model, reports = written(name, tmp_path, _ALL, batch_size=batch_size)
    require_right(name, model, reports)


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """Files of two inputs and three outputs, that take five examples at once."""
    directory = tmp_path_factory.mktemp("several")
    names = {"kind": ("a", "b", "c", "d"), "tags": ("x", "y")}
    return written("several", directory, QUICK, batch_size=5, class_names=names)


def test_files_of_several_inputs_and_outputs_are_right(several):
    require_right("several", *several)


@pytest.mark.parametrize("form", ["litert-int2", "onnx-int2"])
def test_several_inputs_and_outputs_have_the_users_names_in_the_users_order(several, form):
    model, reports = several
    task, loaded = TASKS["several"], load(reports[form].path)
    assert list(loaded.inputs.items()) == [("picture", (5, 6, 6, 1)), ("row", (5, 3))]
    assert list(loaded.outputs.items()) == [("kind", (5, 4)), ("tags", (5, 2)), ("age", (5, 1))]
    assert list(loaded.kinds.items()) == list(task.kinds.items())
    assert (loaded.batch_size, loaded.class_names["tags"]) == (5, ("x", "y"))
    in_order, picture, row = loaded(task.x), *task.x
    assert list(in_order) == ["kind", "tags", "age"]
    named = loaded({"row": row, "picture": picture.astype(np.uint8)})
    for output, values in by_name(task, model(task.x)).items():
        np.testing.assert_array_equal(named[output], in_order[output])
        np.testing.assert_allclose(
            in_order[output], values, rtol=0, atol=1e-4 * np.abs(values).max()
        )
    # A batch that is no multiple of five is filled up, and what fills it is cut off.
    alone = loaded([picture[11:], row[11:]])
    for output, values in alone.items():
        np.testing.assert_allclose(values, in_order[output][11:], atol=1e-6)
    with pytest.raises(ValueError, match="Read `kinds`"):
        assert loaded.output


def test_a_saved_model_has_the_names_too(several):
    _, reports = several
    path = pathlib.Path(reports["saved_model"].path)
    serve = tf.saved_model.load(path).signatures["serving_default"]
    assert set(serve.structured_input_signature[1]) == {"picture", "row"}
    assert set(serve.structured_outputs) == {"kind", "tags", "age"}
    said = json.loads((path / "assets.extra" / "tfqkd.json").read_text())
    assert (said["inputs"], list(said["output"])) == (["picture", "row"], ["kind", "tags", "age"])
    assert "input_range" not in said


def test_what_classifies_images_refuses_such_a_file(several, tmp_path, capsys):
    _, reports = several
    path = reports["litert-int2"].path
    with pytest.raises(ValueError, match=r"take images .* only"):
        measure_files([pathlib.Path(path)], tfqkd.data.load("digits"))
    keras.utils.save_img(tmp_path / "a.png", np.zeros((6, 6, 1)))
    assert predict(["predict", f"--model={path}", f"--images={tmp_path}/a.png"]) == 1
    assert "[N, classes] only" in capsys.readouterr().err


@pytest.mark.parametrize("name", some(["words", "u_net"], "words"))
def test_sequences_and_pixels_get_a_class_each(name, tmp_path):
    model, reports = written(name, tmp_path, ["litert-int2", "onnx-int2"])
    require_right(name, model, reports)
    for report in reports.values():
        loaded = load(report.path)
        (shape,) = loaded.inputs.values()
        assert (loaded.batch_size, shape) == (
            None,
            (None, *TASKS[name].inputs[next(iter(loaded.inputs))]),
        )
        assert loaded(TASKS[name].x).shape == (COUNT, *TASKS[name].y.shape[1:], 3)
