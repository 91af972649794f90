"""`bin/predict`: classifies image files with an exported file."""

import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from tfqkd.cli.command import Command, UsageError, print_json
from tfqkd.runtime.outputs import VALUES


def _command() -> Command:
    command = Command(
        "predict",
        "Classifies PNG and JPEG files with a .tflite or .onnx file that bin/export wrote, by the file's own "
        "runtime, without TensorFlow. Prints the most likely classes of each, in per cent, with the names "
        "that the file holds: the softmax or sigmoid of its logits, or probabilities as it returns them. "
        "Values that are no probabilities are printed as they are. Images of another size are resized. A "
        "file that is no image is named on stderr, the others are classified, and the exit status is 1.",
        (
            "bin/predict --model=runs/quickstart/export/student-int2.tflite --images=cat.png,dog.jpg",
            "bin/predict --model=student-int2.onnx --images=photos --top=1",
        ),
    )
    what = command.group("what to classify")
    what.text("model", "The .tflite or .onnx file; required.")
    what.texts("images", "Image files, or directories of them, separated by commas; required.")
    how = command.group("how")
    how.count("top", 5, "How many classes to print for each image.", lowest=1)
    how.count("threads", 1, "How many threads the runtime uses.", lowest=1)
    command.choose_output(
        "`model`; `images`, a list of objects with `path` and `classes`, the likeliest first: each with "
        "`name` and `probability`, 0 to 1, or `value` where the model returns "
        "values; `unreadable`, a list of paths."
    )

    return command


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    command = _command()
    return command.main(argv, lambda: _predict(command))


def _predict(command: Command) -> None:
    values = command.flags
    _require_model(values.model)
    if not values.images:
        raise UsageError("`images` must name image files. Received: none.")
    from tfqkd.process.notices import without_notices
    from tfqkd.runtime.classification import classify
    from tfqkd.runtime.loading import load
    from tfqkd.runtime.pictures import UnreadablePictureError, find_pictures

    paths = [path for name in values.images for path in find_pictures(name)]
    with without_notices():
        model = load(values.model, values.threads)
    unreadable: list[str] = []
    classified: list[dict[str, Any]] = []
    for path in paths:
        try:
            ranking = classify(model, path, values.top)
        except UnreadablePictureError as error:
            print(f"predict: {error}", file=sys.stderr)
            unreadable.append(str(path))
            continue
        if command.is_json:
            classified.append({"path": str(path), "classes": _as_json(ranking, model.output)})
            continue
        likely = "  ".join(f"{name} {_shown(number, model.output)}" for name, number in ranking)
        print(f"{path}  {likely}")
    if command.is_json:
        print_json({"model": values.model, "images": classified, "unreadable": unreadable})
    if unreadable:
        raise UnreadablePictureError(
            f"Every image must be readable. Received: {len(unreadable)} of {len(paths)} that are not. "
            "Convert those named above, or leave them out."
        )
    if not command.is_json:
        command.print_next("evaluate", f"--models={values.model}", "--dataset=NAME")


def _shown(number: float, output: str) -> str:
    return f"{number:.4g}" if output == VALUES else f"{100 * number:.1f}"


def _as_json(ranking: Sequence[tuple[str, float]], output: str) -> list[dict[str, Any]]:
    kind = "value" if output == VALUES else "probability"
    return [{"name": name, kind: number} for name, number in ranking]


def _require_model(name: str) -> None:
    from tfqkd.cli.model_files import described, files_of
    from tfqkd.runtime.loading import RUNTIME_SUFFIXES

    path = pathlib.Path(name)
    if name and path.exists() and path.suffix in RUNTIME_SUFFIXES:
        return
    kind = described(path)
    advice = ""
    if kind:
        model = path.parent if path.name == "saved_model.pb" else path
        advice = (
            f", {kind}. Write a .tflite file of it with bin/export --model={model}, of a run's student with "
            f"bin/export --run_dir=RUN; or measure it: bin/evaluate --models={model} --dataset=NAME"
        )
    elif name and path.is_dir():
        files = [*files_of(path), *(path / "export").glob("*")]
        found = sorted(file for file in files if file.suffix in RUNTIME_SUFFIXES)
        models = [
            str(file) for file in files if file.suffix not in RUNTIME_SUFFIXES and described(file)
        ]
        advice = f", a folder. Give a file: {', '.join(map(str, found)) or 'there is none in it'}"
        if models and not found:
            advice += f", but {', '.join(models)}: bin/export --model={models[0]} writes one"
    elif name:
        advice = ", which is another kind of file" if path.exists() else ", which does not exist"
    raise UsageError(
        "`model` must be a file that bin/export wrote, .tflite or .onnx. "
        f"Received: model={name!r}{advice}."
    )


if __name__ == "__main__":
    sys.exit(main())
