import json

import pytest

from tfqkd.training.results import ExportedFile, ModelResult, Results


def model(role, label, **changes):
    figures = {"name": "net", "parameters": 10, "accuracy": 0.5, "top5": 0.9, "loss": 1.5}
    names = {"role": role, "label": label, "model": f"products/{role}-0/model.keras"}
    return ModelResult(**{**figures, **names, "stage": f"{role}-0", "seed": 0, **changes})


FILE = ExportedFile(
    format="litert-int8",
    path="student-int8.tflite",
    bytes=100,
    gzip_bytes=50,
    max_difference=1e-5,
    agreement=1.0,
    images=64,
)
RESULTS = Results(
    models=(
        model("teacher", "float teacher", seed=1),
        model("student", "float student", seed=1, accuracy=0.25),
        model("quantized", "ternary", seed=1, accuracy=0.912, quantized_share=0.5),
        model("teacher", "float teacher", accuracy=0.75),
        model("student", "float student"),
        model("quantized", "ternary", accuracy=0.934, quantized_share=0.5),
    ),
    export=(FILE,),
    class_names=("a", "λ"),
)


def test_results_are_read_back(tmp_path):
    (tmp_path / "results.json").write_text(RESULTS.to_json())
    assert Results.read(tmp_path) == RESULTS


def test_a_model_is_known_by_role_and_seed():
    assert RESULTS.student is RESULTS.models[-1]
    assert RESULTS.float_student is RESULTS.models[4]
    assert RESULTS.teachers == (RESULTS.models[0], RESULTS.models[3])
    assert RESULTS.teachers_of(RESULTS.models[2]) == (RESULTS.models[0],)
    shared = Results(models=(model("teacher", "float teacher", seed=7), *RESULTS.models[4:]))
    assert shared.teachers_of(shared.student) == (shared.models[0],)


def test_a_run_is_printed_in_a_line_for_each_model_and_file():
    lines = str(RESULTS).splitlines()
    assert len(lines) == len(RESULTS.models) + 1
    assert lines[5].startswith("ternary (net): 93.40 % of the test images right, 10 parameters")
    assert lines[-1] == "exported: student-int8.tflite"


def test_results_of_before_are_read(tmp_path):
    """Models were known by their labels alone, the last one by its place."""
    figures = {"name": "n", "parameters": 1, "accuracy": 1 / 3, "top5": None, "loss": 0}
    models = [
        ("float teacher 1", "products/teacher-a/model.keras", {}),
        ("float teacher 2", "../own/b.keras", {}),
        ("float student", "products/student-c/model.keras", {}),
        ("float student, no teacher", "products/quantized-d/model.keras", {"quantized_share": 0.0}),
    ]
    written = {
        "models": [{"role": role, **figures, "model": path, **more} for role, path, more in models],
        "export": [{**vars(FILE), "quantized": [], "float_layers": ["logits"]}],
        "class_names": ["a", "b"],
    }
    (tmp_path / "results.json").write_text(json.dumps(written))
    results = Results.read(tmp_path)
    assert [each.label for each in results.models] == [label for label, _, _ in models]
    roles = ["teacher", "teacher", "student", "quantized"]
    assert [each.role for each in results.models] == roles
    assert [each.stage for each in results.models] == ["teacher-a", "", "student-c", "quantized-d"]
    assert results.student.accuracy == 1 / 3
    assert results.export == (FILE,)


def test_a_run_that_is_not_finished_has_no_results(tmp_path):
    with pytest.raises(ValueError, match=r"must hold a finished run\. Received: .*results\.json"):
        Results.read(tmp_path)
