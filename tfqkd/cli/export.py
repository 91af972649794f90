"""`bin/export`: exports the student of a finished run, or a saved model of either Keras."""

import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from absl import flags

from tfqkd.cli.command import Command, UsageError, load_tensorflow, print_json, set_up_tensorflow
from tfqkd.cli.evaluate import require_run_directory
from tfqkd.export.format_options import (
    INPUT_TYPES,
    OUTPUT_TYPES,
    with_arena,
    with_options,
    with_types,
)
from tfqkd.export.format_table import format_table
from tfqkd.export.formats import FORMATS, parse_formats

if TYPE_CHECKING:
    from tfqkd.export.measure import Measured
    from tfqkd.export.report import Report

_RUN = (".tflite", ".onnx")
"""What bin/predict runs."""
_OPTIONS = ("head", "dense_kernels", "input_type", "output_type", "arena_bytes")
"""Flags that are options of formats."""


def _command() -> Command:
    known = "; ".join(f"{form.name}: {form.description}" for form in FORMATS.values())
    command = Command(
        "export",
        "Exports the quantized student of a finished run, or a model that tf_keras or Keras 3 has saved: the "
        "file tells which. Each exported file takes raw pixels, 0 to 255, holds the class names, and is run "
        "in its own runtime against the Keras model before it appears. A format that fails is named at the "
        "end, the others are written, and the exit status is 1.",
        (
            "bin/export --run_dir=runs/cifar100",
            "bin/export --run_dir=runs/cifar100 --format=saved_model,litert-float32",
            "bin/export --model=student.keras --format=litert-int2,onnx-int2",
            "bin/export --model=student.keras --dataset=cifar10 --format=litert-int8-full",
            "bin/export --format=list",
            "bin/export --widen=student-w2a8.packed",
        ),
    )
    what = command.group("what to export")
    what.text("run_dir", "The run directory; or give --model.")
    what.text(
        "model",
        "Instead of a run: a saved model of tf_keras or Keras 3, or the folder that holds it alone.",
    )
    what.text(
        "dataset",
        "With --model: the data set that the file is tested on, as for bin/train; random images if empty.",
    )
    what.text(
        "image_size",
        "With --dataset: resize its images, as --data.image_size of bin/train does.",
        default="0",
    )
    what.switch(
        "centre_crop",
        "With --model: it was trained on the middle of images, as by --data.centre_crop of bin/train; files "
        "say so.",
    )
    what.text(
        "format",
        f"Formats, separated by commas; list prints what each is for. {known}",
        default="litert-int2",
    )
    what.text("output_dir", "Where to; `export` in the run, or beside the model, if empty.")
    what.text("data_dir", "Where TFDS data sets are; as in the run if empty.")
    what.text(
        "widen",
        "Instead of an export: a .packed file, beside which the .tflite file that it stands for is written.",
    )
    _define_options(command)
    command.choose_output(
        "`directory`, and what report.json holds: `files`, each with its `path` there, `format`, `bytes`, "
        "`gzip_bytes`, `max_difference`, `agreement`, `accuracy` and the rest of its report, and how it "
        "ran (`runs`, in seconds)."
    )
    return command


def _define_options(command: Command) -> None:
    exactness = command.group("how small and how exact")
    exactness.choice(
        "head",
        ["float32", "int8"],
        "int8 rounds the last layer's kernel in litert-int2, if it is float.",
    )
    exactness.choice(
        "dense_kernels",
        ["exact", "int2"],
        "int2 lets dense layers of litert-int2 multiply 2-bit codes natively; their activations become int8, "
        "about 1 % off, which is measured and printed.",
    )
    exactness.choice(
        "input_type",
        INPUT_TYPES,
        "What litert-w8a8 and its kind take: pixels as float32 or uint8, or pixels less 128 as int8.",
    )
    exactness.choice(
        "output_type", OUTPUT_TYPES, "What litert-w8a8 and its kind return: float32, or int8 codes."
    )
    exactness.count(
        "arena_bytes",
        0,
        "Of tflm: the most that tensors and structures may take on the device; 0 for any.",
        lowest=0,
    )
    shown = command.group("what to report")
    shown.switch("latency", "Also measures load time, memory and latency.", default=True)
    shown.switch(
        "per_layer",
        "Also prints each file's kernels and their bytes; --output=json always has them.",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    command = _command()

    def show(
        reports: Sequence["Report"], output: pathlib.Path, latency: bool, per_layer: bool
    ) -> None:
        _show(reports, output, latency, per_layer)
        files = [report.path for report in reports if pathlib.Path(report.path).suffix in _RUN]
        for file in files[:1]:
            command.print_next("predict", f"--model={file}", "--images=IMAGE.png")

    return command.main(
        argv, lambda: _export(command.flags, _show_json if command.is_json else show)
    )


def _export(values: flags.FlagValues, show: Callable[..., None]) -> None:
    if values.format == "list":
        print(format_table())
        return
    if values.widen:
        _widen(pathlib.Path(values.widen), values.output_dir)
        return
    source = _source(values)
    try:
        formats = parse_formats(values.format)
        with_options(formats, values.head, values.dense_kernels)
        with_types(formats, values.input_type, values.output_type)
        with_arena(formats, values.arena_bytes)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if _is_of_keras3(values, source):
        from tfqkd.export.twin_process import require_tensorflow

        require_tensorflow()
    for form in formats:
        form.require_runtime()
    folder = source if values.run_dir else source.parent
    output = pathlib.Path(values.output_dir or folder / "export")
    from tfqkd.export.verification import ExportError

    try:
        reports = _written(values, source, [form.name for form in formats], output)
    except ExportError as error:
        if error.reports:
            show(error.reports, output, values.latency, values.per_layer)
        raise
    show(reports, output, values.latency, values.per_layer)


def _widen(path: pathlib.Path, output_dir: str) -> None:
    """Writes the TFLite file of a packed one."""
    from tfqkd.runtime.widening import widen
    from tfqkd.storage import whole_file

    if not path.is_file():
        raise UsageError(f"`widen` must be a .packed file. Received: {path}, which is not one.")
    target = pathlib.Path(output_dir or path.parent) / f"{path.stem}.tflite"
    content = widen(path.read_bytes())
    target.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(target) as draft:
        draft.write_bytes(content)
    print(f"{target}: {len(content):,} bytes, of {path.stat().st_size:,}")


def _source(values: flags.FlagValues) -> pathlib.Path:
    """The run directory or model that flags name."""
    if not values.model:
        for name in ("dataset", "image_size", "centre_crop"):
            if values[name].present:
                raise UsageError(
                    "A run has a data set of its own. "
                    f"Received: {name}={values[name].value!r}, without a model. "
                    "Leave it out, or give --model."
                )
        return require_run_directory(values.run_dir)
    if values.run_dir:
        raise UsageError(
            f"Only one of --run_dir and --model can be exported. Received: run_dir={values.run_dir!r}, "
            f"model={values.model!r}. Give one of them."
        )
    if values["image_size"].present and not values.dataset:
        raise UsageError(
            "Images of a data set are resized. "
            f"Received: image_size={values.image_size!r}, without one. Leave it out, or give --dataset."
        )
    # Loads NumPy, which --help needs not.
    from tfqkd.cli.model_files import keras_model_of

    return keras_model_of(pathlib.Path(values.model))


def _is_of_keras3(values: flags.FlagValues, source: pathlib.Path) -> bool:
    from tfqkd.fronts.model_archive import is_of_keras3
    from tfqkd.training.directory import read_recipe

    return read_recipe(source).run.keras == 3 if values.run_dir else is_of_keras3(source)


def _written(
    values: flags.FlagValues, source: pathlib.Path, formats: list[str], output: pathlib.Path
) -> list["Report"]:
    options = {name: values[name].value for name in _OPTIONS}
    (set_up_tensorflow if _is_of_keras3(values, source) else load_tensorflow)()
    from tfqkd.reporting.measurement import export_file, export_run

    if values.run_dir:
        return export_run(source, formats, output, values.data_dir, **options)
    if not values.dataset:
        options["centre_crop"] = values.centre_crop
        return export_file(source, formats, output, None, **options)
    from tfqkd.data import load

    data = load(
        values.dataset,
        data_dir=values.data_dir or None,
        image_size=values.image_size,
        centre_crop=values.centre_crop,
    )
    return export_file(source, formats, output, data, **options)


def _measured(reports: Sequence["Report"], output: pathlib.Path, latency: bool) -> list["Measured"]:
    """Measures files, and writes the report."""
    from tfqkd.export.measure import measure
    from tfqkd.export.report_tables import write_report

    measured: list[Measured] = []
    try:
        measured = measure(reports) if latency else []
    finally:
        # The files stand, also where one cannot be measured.
        write_report(reports, measured, output)
    return measured


def _show_json(
    reports: Sequence["Report"], output: pathlib.Path, latency: bool, per_layer: bool
) -> None:
    from tfqkd.export.report_tables import report_json

    shown = report_json(reports, _measured(reports, output, latency))
    print_json({"directory": str(output), **shown})


def _show(
    reports: Sequence["Report"], output: pathlib.Path, latency: bool, per_layer: bool
) -> None:
    """Measures files, prints their tables, and writes the report."""
    from tfqkd.export.report_tables import (
        REPORT_FILE,
        layer_table,
        relative_table,
        size_table,
        speed_table,
    )

    print(f"\n{size_table(reports)}")
    measured = _measured(reports, output, latency)
    if measured:
        print(f"\n{speed_table(measured)}")
    if relative := relative_table(measured):
        print(f"\n{relative}")
    for report in reports if per_layer else []:
        print(f"\n{report.format}\n{layer_table(report)}")
    print(f"\nReport          {output / REPORT_FILE}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
