"""LiteRT (TensorFlow Lite) files."""

import os
import pathlib
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from tensorflow.lite.python.convert_phase import ConverterError

from tfqkd.compat import keras, tf
from tfqkd.export.format_options import with_options, with_types
from tfqkd.export.formats import Format, format_of
from tfqkd.export.owners import layer_paths
from tfqkd.export.report import Report
from tfqkd.export.saved_model import save
from tfqkd.export.source import Source
from tfqkd.export.stored_kernels import StoredKernel, check_kernels, check_layers
from tfqkd.export.verification import ExportError
from tfqkd.export.writing import metadata, require_file, write_verified
from tfqkd.process.messages import last_line
from tfqkd.runtime.inputs import Arrays, Given, batches, filled
from tfqkd.runtime.signature import METADATA, SIGNATURE

_RUNTIME = "ai_edge_litert"
_RUNNER = ("-m", "tfqkd.runtime.predict")
_DIRECT_RUNNER = (*_RUNNER, "--direct")


def to_litert(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    format: str = "litert-int2",
    class_names: Any = None,
    images: Given | None = None,
    calibration: Given | None = None,
    test: tuple[Given, np.ndarray] | None = None,
    head: str = "float32",
    dense_kernels: str = "exact",
    input_type: str = "float32",
    output_type: str = "float32",
    output: str | Mapping[str, str] | None = None,
    batch_size: int | None = None,
    centre_crop: bool = False,
) -> Report:
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
    (form,) = with_options([format_of(_RUNTIME, format)], head, dense_kernels)
    (form,) = with_types([form], input_type, output_type)
    form.require_runtime()
    source = Source.prepare(
        model, class_names, images, calibration, test, output, batch_size, centre_crop
    )
    return write_litert(source, pathlib.Path(path), form)


def write_litert(source: Source, path: pathlib.Path, form: Format) -> Report:
    """Writes and verifies a prepared model; see `to_litert`."""
    require_file(path, form)
    if form.is_calibrated and source.calibration is None:
        raise ValueError(
            f"`calibration` must hold real images for {form.name}. Received: None. "
            "Pass a few hundred training images: calibration=train_images[:500]."
        )
    # A program without tfqkd gives the runtime the file as it is; ours widens narrow codes first.
    return write_verified(
        source,
        path,
        form,
        write=lambda draft: _write(source, draft, form),
        runners=[_DIRECT_RUNNER, _RUNNER] if form.has_narrow_codes else [_RUNNER],
    )


def _write(source: Source, draft: pathlib.Path, form: Format) -> list[StoredKernel]:
    # They need LiteRT, which is optional.
    from tfqkd.export import tflite
    from tfqkd.export.integer.files import write_tflite
    from tfqkd.export.tflite_reading import check_rounded_kernels, found_kernels, read_back

    if form.is_integer:
        return write_tflite(source, draft, form)

    reference = source.converted(_RUNTIME, _convert)
    rounds_all = form.weights != "float32"
    content = tflite.read(_convert(source, form.weights) if rounds_all else reference)
    kernels = tflite.store_kernels(
        tflite.read(reference) if rounds_all else content,
        form.kernel_bits,
        source.owners,
        rounds_head=form.rounds_head,
        multiplies_codes=form.multiplies_codes,
    )
    if form.kernel_bits is not None:
        check_layers(kernels, source.quantized)
    if form.drops_names:
        tflite.drop_inner_names(content)
    tflite.add_metadata(content, METADATA, metadata(source, form).encode())
    draft.write_bytes(tflite.write(content))
    written = read_back(draft)
    if rounds_all:
        check_rounded_kernels(written, kernels, form.weights)
    else:
        check_kernels(found_kernels(written), kernels)
    return kernels


def _convert(source: Source, weights: str = "float32") -> bytes:
    with tempfile.TemporaryDirectory(prefix="tfqkd-") as scratch, warnings.catch_warnings():
        # To calibrate, TensorFlow uses an interpreter that it warns of.
        warnings.filterwarnings("ignore", message=r"\s*Warning: tf.lite.Interpreter is deprecated")
        save(source, pathlib.Path(scratch) / "saved_model")
        converter = tf.lite.TFLiteConverter.from_saved_model(
            str(pathlib.Path(scratch) / "saved_model"), signature_keys=[SIGNATURE]
        )
        if weights != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if weights == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if weights == "int8":
            converter.representative_dataset = lambda: _calibration(source)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        try:
            return converter.convert()
        except ConverterError as error:
            raise _no_operation(source, error) from error
        except (RuntimeError, ValueError) as error:
            raise ExportError(
                "TensorFlow's converter must be able to run the model that it converts. Received: "
                f"the model '{source.model.name}', with which it fails ({last_line(error)}). "
                "Nothing was written. Export to saved_model or onnx-float32."
            ) from error


def _calibration(source: Source) -> Iterator[Arrays]:
    """Yields the examples one by one, or as many as the file takes at once."""
    assert source.calibration is not None
    size = next(iter(source.signature.values())).shape[0] or 1
    for batch in batches(source.calibration, size):
        short = size - len(next(iter(batch.values())))
        yield {name: filled(values, short) for name, values in batch.items()}


def _no_operation(source: Source, error: ConverterError) -> ExportError:
    rule = "A LiteRT file must be made of LiteRT's own operations. "
    named = ", ".join(sorted(set(re.findall(r"tf\.[A-Z]\w+", str(error))))) or "one that has none"
    loops = [
        ("/".join(path), layer)
        for path, layer in layer_paths(source.model)
        if getattr(layer, "unroll", True) is False
    ]
    if loops:
        (name, layer), *_ = loops
        return ExportError(
            f"{rule}Received: layer '{name}', a {type(layer).__name__} that loops over the steps, "
            f"with {named}. Nothing was written. Build the layer with unroll=True, or export to "
            "saved_model."
        )
    return ExportError(
        f"{rule}Received: the model '{source.model.name}' with {named}. Nothing was written. "
        "Export to saved_model."
    )
