import json
import pathlib

import numpy as np

from tfqkd.reporting.results import (
    export_table,
    measurement_table,
    print_comparison,
    print_results,
    results_table,
)
from tfqkd.training.comparison import Row
from tfqkd.training.evaluation import Evaluation
from tfqkd.training.measurement import Measurement

MODELS = [
    {
        "role": "float teacher",
        "name": "wrn20x2",
        "parameters": 1080090,
        "accuracy": 0.93456,
        "top5": 0.9987,
        "loss": 0.25,
        "model": "products/teacher-x/model.keras",
    },
    {
        "role": "ternary student, gradual coefficient",
        "name": "resnet20",
        "parameters": 272474,
        "accuracy": 1.0,
        "top5": 1.0,
        "loss": 1.23456789,
        "model": "products/quantized-x/model.keras",
    },
]
REPORTS = [
    {
        "format": "litert-int8",
        "path": "student-int8.tflite",
        "bytes": 301234,
        "gzip_bytes": 98765,
        "images": 64,
        "max_difference": 0.0000123,
        "agreement": 0.984375,
        "quantized": [],
        "float_layers": [],
    }
]


def cells(table):
    """The cells of a table by row, from its Markdown."""
    lines = [line for line in table.markdown().splitlines() if line.startswith("|")]
    heading, _, *rows = lines
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in (heading, *rows)]


def test_the_models_of_a_run_as_a_table():
    assert cells(results_table({"models": MODELS})) == [
        ["model", "parameters", "test accuracy %", "top-5 %", "loss"],
        ["float teacher", "1,080,090", "93.46", "99.87", "0.2500"],
        ["ternary student, gradual coefficient", "272,474", "100.00", "100.00", "1.2346"],
    ]


def test_the_exported_files_as_a_table():
    assert cells(export_table(REPORTS)) == [
        ["file", "format", "bytes", "gzip bytes", "max difference", "same top-1 %"],
        ["student-int8.tflite", "litert-int8", "301,234", "98,765", "1.2e-05", "98.4"],
    ]


def test_measurements_as_a_table():
    figures = Evaluation(accuracy=2 / 3, top5=1.0, loss=0.12345, confusion=np.eye(3, dtype=int))
    measured = [Measurement("student", figures, 0.5), Measurement("alone", figures, None)]
    assert cells(measurement_table(measured)) == [
        ["model or file", "accuracy %", "top-5 %", "loss", "agrees with teacher %"],
        ["student", "66.67", "100.00", "0.1235", "50.00"],
        ["alone", "66.67", "100.00", "0.1235", ""],
    ]


def test_five_classes_or_fewer_have_no_top5():
    figures = Evaluation(accuracy=0.5, top5=None, loss=0.5, confusion=np.eye(5, dtype=int))
    assert "top-5 %" not in cells(measurement_table([Measurement("student", figures, None)]))[0]
    assert cells(results_table({"models": [{**MODELS[0], "top5": None}]})) == [
        ["model", "parameters", "test accuracy %", "loss"],
        ["float teacher", "1,080,090", "93.46", "0.2500"],
    ]


def test_a_run_is_printed_with_where_its_files_are(capsys):
    directory = pathlib.Path("runs/x")
    print_results({"models": MODELS, "export": REPORTS}, directory)
    out = capsys.readouterr().out
    assert str(results_table({"models": MODELS})) in out
    assert str(export_table(REPORTS)) in out
    for line in (
        "Run directory   runs/x",
        "Report          runs/x/report.html",
        "Plot            runs/x/run.png",
        "Layers          runs/x/quantization.txt",
        "Exported files  runs/x/export",
        "TensorBoard     tensorboard --logdir runs/x",
    ):
        assert line in out.splitlines()


def test_a_run_without_exports_promises_none(capsys):
    print_results({"models": MODELS, "export": []}, pathlib.Path("runs/x"))
    out = capsys.readouterr().out
    assert "gzip" not in out
    assert "Exported files" not in out


def test_a_comparison_is_printed(capsys):
    rows = [Row("float teacher", 1000, (0.5, 0.75)), Row("ternary, no teacher", 10, (0.25, 0.25))]
    print_comparison(rows, pathlib.Path("runs/x"))
    out = capsys.readouterr().out
    assert "62.50 ± 17.68" in out
    assert "25.00 ± 0.00" in out
    assert "Exported files  runs/x/*/export" in out
    assert "Plot            runs/x/comparison.png" in out


def test_the_tables_of_a_run_that_is_read_back_are_the_same():
    text = json.dumps({"models": MODELS, "export": REPORTS})
    assert str(results_table(json.loads(text))) == str(results_table({"models": MODELS}))
