"""LiteRT (TensorFlow Lite) files."""

import pathlib
import re
import tempfile
import warnings
from collections.abc import Iterator

from tensorflow.lite.python.convert_phase import ConverterError

from tfqkd.compat import tf
from tfqkd.export.formats import Format
from tfqkd.export.owners import layer_paths
from tfqkd.export.report import Report
from tfqkd.export.saved_model import save
from tfqkd.export.source import Source
from tfqkd.export.stored_kernels import StoredKernel, check_kernels, check_layers
from tfqkd.export.verification import ExportError
from tfqkd.export.writing import metadata, require_file, write_verified
from tfqkd.process.messages import last_line
from tfqkd.runtime.inputs import Arrays, batches, filled
from tfqkd.runtime.signature import METADATA, SIGNATURE

_RUNTIME = "ai_edge_litert"
_RUNNER = ("-m", "tfqkd.runtime.predict")
_DIRECT_RUNNER = (*_RUNNER, "--direct")


def write_litert(source: Source, path: pathlib.Path, form: Format) -> Report:
    """Writes and verifies a prepared model; see `tfqkd.export.to_litert`."""
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
