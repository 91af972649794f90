import dataclasses
import json

import pytest

from tfqkd.export import export

from . import classifier


def test_files_have_their_formats_names(exported):
    assert {entry.name for entry in exported.directory.iterdir()} == {
        "saved_model",
        "student-float32.tflite",
        "student-int8.tflite",
        "student-int2.tflite",
    }


def test_reports_are_json_and_in_order(exported):
    reports = list(exported.reports.values())
    restored = json.loads(json.dumps([dataclasses.asdict(report) for report in reports]))
    assert [report["format"] for report in restored] == [
        "saved_model",
        "litert-float32",
        "litert-int8",
        "litert-int2",
    ]
    for report in restored:
        assert report["agreement"] == 1.0
        assert 0 <= report["max_difference"] <= 1e-4
        assert 0 < report["gzip_bytes"] < report["bytes"]
    first = restored[2]["quantized"][0]
    assert first == {"layer": "depthwise", "weights": 72, "max_code": 1, "bits": 8}


def test_unknown_formats_are_refused_before_anything_is_written(exported, tmp_path):
    with pytest.raises(ValueError, match="Unknown: onnx-int3"):
        export(exported.model, tmp_path / "out", "litert-float32,onnx-int3")
    assert not (tmp_path / "out").exists()


def test_class_names_are_checked_before_anything_is_written(exported, tmp_path):
    names = classifier.CLASS_NAMES[:-1]
    with pytest.raises(ValueError, match=r"5 logits\. Received: 4 names"):
        export(exported.model, tmp_path / "out", "litert-float32", class_names=names)
    assert not (tmp_path / "out").exists()
