"""The exporters, for a model of either Keras: a Keras 3 model is exported by its tf_keras twin."""

import importlib
from typing import Any

from tfqkd.export.formats import FORMATS, Format, format_of
from tfqkd.export.report import Report
from tfqkd.fronts.choice import front_name, strip_quantization


def export(model: Any, directory: Any, formats: Any, **settings: Any) -> list[Report]:
    """Writes a model in several formats, each verified in its runtime before it appears.

    Example:
        ```python
        reports = export(quantized, "runs/1/export", "saved_model,litert-int8", class_names=names)
        ```

    Args:
        model: A quantized or plain model of tf_keras or Keras 3, from raw pixels [N, H, W, C] in 0..255 to
            outputs [N, classes]; or from other inputs, one or several, to outputs [N, ...], one or several.
            Files have the names and the order of several, as `keras.Input` and the layers of the outputs, or
            the keys of dicts, give them. Of Keras 3 the tf_keras twin is converted, in a process of its own.
        directory: Where the files go, under the names in `FORMATS`.
        formats: Names of formats, in an iterable or separated by commas.
        class_names: One name a class; of several outputs a dict by output.
        images: What to verify on, uint8 or float32 [n, H, W, C] in 0..255, or what else the model takes: of
            several inputs a list in order, or a dict by name. 16 random examples by default; of other
            numbers than pixels, give real ones.
        calibration: Real examples, as `images`; "litert-int8-full" measures the ranges of activations
            on them.
        test: Examples, as `images`, and their classes, integers [n]: every file's accuracy on them is
            measured, and may not fall by more than `accuracy.allowed_fall`.
        head: Of "litert-int2": see `to_litert`.
        dense_kernels: Of "litert-int2": see `to_litert`.
        input_type: Of files of integers alone: see `to_litert`.
        output_type: Of files of integers alone: see `to_litert`.
        arena_bytes: Of "tflm": the most that tensors and structures may take on the device; 0 for any.
        output: What the model returns, if it may not show it: "logits", "sigmoid_logits", "softmax",
            "sigmoid" or "values", see `tfqkd.runtime.outputs`. By default its last layer and the loss
            that it was compiled with tell, and linear outputs without a loss are logits. Every file
            says it, and what runs a file goes by it. Of several outputs a dict by output.
        batch_size: How many examples a file takes at once; None for any number. A "keras" file takes any.
        centre_crop: Whether files say that the model was trained on the middle of images, which
            `--data.centre_crop` cuts out before it is resized. `bin/predict` does as they say.

    Returns:
        One report a format, in the order given.

    Raises:
        ImportError: If a format's runtime is not installed.
        ValueError: If a format is unknown, an argument does not fit the model, or a layer has no twin.
        ExportError: If a file does not compute what the model computes. The other formats are
            written all the same: its `reports` are theirs.
    """
    if front_name(model) == "keras3":
        return _by_twin("export", model, directory, {"formats": formats, **settings})
    return _own("exporter", "export")(model, directory, formats, **settings)


def require_exportable(model: Any, class_names: Any, formats: Any) -> None:
    """Raises if a model cannot be exported at all; without writing anything.

    Args:
        model: Of tf_keras or Keras 3.
        class_names: Of its outputs.
        formats: Names of formats.

    Raises:
        ImportError: If TensorFlow is missing, which exports models of Keras 3.
        ValueError: If the model has no fixed images, other outputs than names, or a layer without a twin.
    """
    if front_name(model) == "keras3":
        importlib.import_module("tfqkd.export.twin_process").require_tensorflow()
        importlib.import_module("tfqkd.export.twin_layers").require_twin(strip_quantization(model))
        return
    _own("source", "require_exportable")(model, class_names)
    if "keras" in formats:
        _own("keras_file", "require_own_layers")(model)


def to_litert(model: Any, path: Any, *, format: str = "litert-int2", **settings: Any) -> Report:
    """Writes a model as a LiteRT file, which runs on a device without TensorFlow.

    Its signature `serving_default` takes `images` float32 [N, H, W, C] in 0..255, for any N, and
    returns `logits` float32 [N, classes]; of a model that ends in softmax or sigmoid
    `probabilities`, of other ones `values`. Class names, what the output is, format and input range
    are a JSON object in the metadata entry `tfqkd`; `tfqkd.export.load` reads it.

    "litert-int2" stores codes of 2 bits, and a float32 scale per channel, for each ternary kernel:
    −1, 0 and 1. Other kernels whose values are multiples of a step get codes of 4 or 8 bits, and
    ternary ones with other values below zero than above it two planes of 2 bits. They stand for the
    very values of the model, so that its logits stay the same. All other weights, as those of
    layers that were not quantized, stay float32: the report lists them. "litert-int8" does the same
    with 8 bits for every code.

    "litert-int8-full" rounds all weights and activations to 8 bits, for devices that have integers
    only, by ranges that it measures; "litert-float16" rounds weights to float16. Both are close to the
    model, not equal.

    "litert-w8a8", "litert-w4a8" and "litert-w2a8" compute with integers alone too, by the steps that a model
    of `tfqkd.DeployScheme` was trained with: nothing is measured, and the codes are the model's but for
    ties. Weights of up to so many bits are stored as int8, for any interpreter.

    Example:
        ```python
        report = to_litert(quantized, "student.tflite")
        logits = tfqkd.export.load("student.tflite")(images)
        ```

    Args:
        model: A quantized or plain model from raw pixels to logits, probabilities or values.
        path: The file to write. An earlier one there is replaced, if the new one is right.
        format: "litert-int2", "litert-int8", "litert-int8-full", "litert-w8a8", "litert-w4a8",
            "litert-w2a8", "litert-float16" or "litert-float32".
        class_names: As for `tfqkd.export.export`.
        images: What to verify it on, as for `tfqkd.export.export`.
        calibration: Real examples, as `images`, that "litert-int8-full" needs: the range of each
            activation is the smallest and largest value on them.
        test: Examples, as `images`, and their classes, integers [n]: the file's accuracy on them must
            be the model's, but for chance; within 0.5 points more for formats that round.
        head: "int8" rounds the last layer's kernel in "litert-int2", if it is float: a quarter of
            its bytes.
        dense_kernels: "int2" lets dense layers of "litert-int2" multiply 2-bit codes with LiteRT's
            own kernels, which round the activations to int8: fast for large layers, and off by
            about 1 %. The report's `max_difference` is what that changes.
        input_type: What files of integers alone take: "float32" or "uint8" pixels, or "int8", pixels less
            128. The standardisation is folded into the first layer where that is exact, else an
            operator behind the input.
        output_type: What files of integers alone return: "float32", or "int8" codes with the scale that
            the file tells.
        output: What the model returns, as for `tfqkd.export.export`.
        batch_size: How many examples the file takes at once; None for any number.
        centre_crop: As for `tfqkd.export.export`.

    Returns:
        What was written.

    Raises:
        ImportError: If LiteRT is not installed.
        ValueError: If an argument does not fit the model, or the format is unknown.
        ExportError: If the file does not compute what the model computes; nothing is written then.
    """
    return _one(format_of("ai_edge_litert", format), model, path, settings)


def to_onnx(model: Any, path: Any, *, format: str = "onnx-int2", **settings: Any) -> Report:
    """Writes a model as an ONNX file for onnxruntime 1.24.4 or later.

    Its input `images` is float32 [N, H, W, C] in 0..255, for any N, its output `logits` float32 [N,
    classes]; of a model that ends in softmax or sigmoid `probabilities`, of other ones `values`. Class
    names, what the output is, format and input range are a JSON object in the metadata property `tfqkd`.
    "onnx-int2" stores codes as "litert-int2" does (see `to_litert`): constants of 2, 4 or 8 bits,
    and a DequantizeLinear with a scale per channel. "onnx-w8a8" and "onnx-w2a8" compute with integers by the
    steps that were trained, as "litert-w8a8" does; the latter's ternary kernels are 2-bit constants, which
    onnxruntime widens as it loads them.

    Example:
        ```python
        report = to_onnx(quantized, "student.onnx")
        logits = tfqkd.export.load("student.onnx")(images)
        ```

    Args:
        model: A quantized or plain model from raw pixels to logits, probabilities or values.
        path: The file to write. An earlier one there is replaced, if the new one is right.
        format: "onnx-int2", "onnx-float32", or "onnx-w8a8" or "onnx-w2a8" for a model of `DeployScheme`.
        class_names: As for `tfqkd.export.export`.
        images: What to verify it on, as for `tfqkd.export.export`.
        input_type: What files of integers alone take, as for `to_litert`.
        output_type: What they return, as for `to_litert`; scale and zero point of the codes are in the
            metadata.
        output: What the model returns, as for `tfqkd.export.export`.
        batch_size: How many examples the file takes at once; None for any number.
        centre_crop: As for `tfqkd.export.export`.

    Returns:
        What was written.

    Raises:
        ImportError: If onnx, tf2onnx or onnxruntime is not installed.
        ValueError: If an argument does not fit the model, or the format is unknown.
        ExportError: If the file does not compute what the model computes; nothing is written then.
    """
    return _one(format_of("onnxruntime", format), model, path, settings)


def to_saved_model(model: Any, path: Any, **settings: Any) -> Report:
    """Writes a model as a SavedModel, which runs without Keras and without tfqkd.

    Its signature `serving_default` takes `images` float32 [None, H, W, C] in 0..255 and returns
    `logits` float32 [None, classes]; of a model that ends in softmax or sigmoid `probabilities`, of
    other ones `values`. The class names are in `assets/labels.txt`, one a line; they, what the output
    is, format and input range are a JSON object in `assets.extra/tfqkd.json`.

    Example:
        ```python
        report = to_saved_model(quantized, "export/saved_model", class_names=names)
        loaded = tf.saved_model.load(report.path)
        logits = loaded.signatures["serving_default"](images=batch)["logits"]
        ```

    Args:
        model: A quantized or plain model from raw pixels to logits, probabilities or values.
        path: The directory to write. An earlier SavedModel there is replaced, if the new one is
            right.
        class_names: As for `tfqkd.export.export`.
        images: What to verify it on, as for `tfqkd.export.export`.
        output: What the model returns, as for `tfqkd.export.export`.
        batch_size: How many examples the signature takes at once; None for any number.
        centre_crop: As for `tfqkd.export.export`.

    Returns:
        What was written.

    Raises:
        ValueError: If an argument does not fit the model.
        ExportError: If the SavedModel does not compute what the model computes; nothing is written
            then.
    """
    return _one(FORMATS["saved_model"], model, path, settings)


def _one(form: Format, model: Any, path: Any, settings: dict[str, Any]) -> Report:
    settings = dict(format=form.name, **settings)
    if front_name(model) == "keras3":
        return _by_twin("export_one", model, path, settings)[0]
    return _own("exporter", "export_one")(model, path, **settings)


def _by_twin(function: str, model: Any, path: Any, settings: dict[str, Any]) -> list[Report]:
    process = importlib.import_module("tfqkd.export.twin_process")
    return process.exported(function, model, path, settings)


def _own(module: str, function: str) -> Any:
    # Imported here: it imports TensorFlow, which a user of Keras 3 may not have.
    return getattr(importlib.import_module(f"tfqkd.export.{module}"), function)
