import dataclasses
import pathlib
import statistics

import numpy as np

from tfqkd.reporting.measurement import Measurement
from tfqkd.reporting.results import (
    export_table,
    measurement_table,
    print_results,
    results_table,
    rows_of,
)
from tfqkd.runtime.evaluation import Bin, Difference, Evaluation
from tfqkd.training.results import ExportedFile, ModelResult, Results

MODELS = (
    ModelResult(
        role="teacher",
        label="float teacher",
        name="wrn20x2",
        parameters=1080090,
        accuracy=0.93456,
        top5=0.9987,
        loss=0.25,
        model="products/teacher-x/model.keras",
        seed=0,
    ),
    ModelResult(
        role="quantized",
        label="ternary student, gradual coefficient",
        name="resnet20",
        parameters=272474,
        accuracy=1.0,
        top5=1.0,
        loss=1.23456789,
        model="products/quantized-x/model.keras",
        seed=0,
        quantized_share=0.976,
    ),
)
FILE = ExportedFile(
    format="litert-int8",
    path="student-int8.tflite",
    bytes=301234,
    gzip_bytes=98765,
    images=64,
    max_difference=0.0000123,
    agreement=0.984375,
)
RESULTS = Results(models=MODELS, export=(FILE,))
HEADINGS = ["model", "network", "parameters", "quantized %", "test accuracy %", "top-5 %", "loss"]


def cells(table):
    """The cells of a table by row, from its Markdown."""
    lines = [line for line in table.markdown().splitlines() if line.startswith("|")]
    heading, _, *rows = lines
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in (heading, *rows)]


def test_the_models_of_a_run_as_a_table():
    assert cells(results_table(RESULTS)) == [
        HEADINGS,
        ["float teacher", "wrn20x2", "1,080,090", "0.0", "93.46", "99.87", "0.2500"],
        [MODELS[1].label, "resnet20", "272,474", "97.6", "100.00", "100.00", "1.2346"],
    ]


def test_models_of_one_label_are_a_row_with_mean_and_sample_deviation():
    accuracies = (0.912, 0.934, 0.927)
    students = tuple(dataclasses.replace(MODELS[1], accuracy=each) for each in accuracies)
    teacher, row = rows_of(Results(models=(MODELS[0], *students)))
    assert (row.label, row.models) == (MODELS[1].label, students)
    assert row.mean("accuracy") == statistics.fmean(accuracies)
    assert row.deviation == statistics.stdev(accuracies)
    assert row.accuracy_text() == "92.43 ± 1.12"
    assert (teacher.deviation, teacher.accuracy_text()) == (None, "93.46")


def test_the_seeds_of_a_model_are_one_row():
    other = dataclasses.replace(MODELS[1], accuracy=0.5, top5=0.75, loss=0.5, seed=1)
    _, teacher, student = cells(results_table(Results(models=(MODELS[0], other, MODELS[1]))))
    assert teacher[4:] == ["93.46", "99.87", "0.2500", "1"]
    assert student[4:] == ["75.00 ± 35.36", "87.50", "0.8673", "2"]


def test_the_exported_files_as_a_table():
    assert cells(export_table([FILE])) == [
        ["file", "format", "bytes", "gzip bytes", "max difference", "same top-1 %"],
        ["student-int8.tflite", "litert-int8", "301,234", "98,765", "1.2e-05", "98.4"],
    ]


def test_measurements_as_a_table():
    sure = (Bin(3, 0.9, 2 / 3),)
    figures = Evaluation(2 / 3, 1.0, 0.12345, np.eye(3, dtype=int), sure)
    values = dataclasses.replace(figures, loss=None, reliability=())
    measured = [Measurement("student", figures, 0.5), Measurement("alone", values, None)]
    assert cells(measurement_table(measured)) == [
        ["model or file", "accuracy %", "top-5 %", "loss", "ECE %", "agrees with teacher %"],
        ["student", "66.67", "100.00", "0.1235", "23.33", "50.00"],
        ["alone", "66.67", "100.00", "", "", ""],
    ]


def test_files_are_compared_with_the_first():
    first = Measurement("first", Evaluation(0.5, None, None, np.eye(2, dtype=int), ()), None)
    other = dataclasses.replace(first, name="other", over_first=Difference(-0.0123, 0.00456))
    assert cells(measurement_table([first, other])) == [
        ["model or file", "accuracy %", "loss", "ECE %", "minus the first"],
        ["first", "50.00", "", "", ""],
        ["other", "50.00", "", "", "-1.23 ± 0.46"],
    ]
    assert cells(measurement_table([first]))[0][-1] == "ECE %"


def test_five_classes_or_fewer_have_no_top5():
    figures = Evaluation(0.5, None, 0.5, np.eye(5, dtype=int), ())
    assert "top-5 %" not in cells(measurement_table([Measurement("student", figures, None)]))[0]
    models = (dataclasses.replace(MODELS[0], top5=None),)
    assert cells(results_table(Results(models=models))) == [
        [heading for heading in HEADINGS if heading != "top-5 %"],
        ["float teacher", "wrn20x2", "1,080,090", "0.0", "93.46", "0.2500"],
    ]


def test_a_run_is_printed_with_where_its_files_are(capsys):
    directory = pathlib.Path("runs/x")
    print_results(RESULTS, directory)
    out = capsys.readouterr().out
    assert str(results_table(RESULTS)) in out
    assert str(export_table([FILE])) in out
    assert "±" not in out
    for line in (
        "Run directory   runs/x",
        "Report          runs/x/report.html",
        "Figures         runs/x/figures",
        "Layers          runs/x/quantization.txt",
        "Exported files  runs/x/export",
        "TensorBoard     tensorboard --logdir runs/x",
    ):
        assert line in out.splitlines()


def test_a_run_without_exports_promises_none(capsys):
    print_results(Results(models=MODELS), pathlib.Path("runs/x"))
    out = capsys.readouterr().out
    assert "gzip" not in out
    assert "Exported files" not in out


def test_means_over_seeds_are_said_to_be_so(capsys):
    print_results(Results(models=(*MODELS, MODELS[1])), pathlib.Path("runs/x"))
    assert "Means over the seeds; ±: their sample standard deviation." in capsys.readouterr().out
