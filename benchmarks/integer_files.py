"""What the part `integers` compares: our files, and other quantizers' as their users make them."""

import dataclasses
import functools
import math
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

FLOAT = "litert-float32"
_CALIBRATION = 16
"""Images: how well ranges are measured does not change how fast they are computed with."""
_CODES = {"output_type": "int8"}


class Files:
    """Writes the files of a network; what random weights compute is not looked at.

    Args:
        network: Its name.
        size: Height and width of its images.
        directory: Where the files go.
    """

    def __init__(self, network: str, size: int, directory: pathlib.Path) -> None:
        self._network, self._shape, self._directory = network, (size, size, 3), directory
        shape = (_CALIBRATION, *self._shape)
        self._images = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)

    def write(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, pathlib.Path]]:
        """Yields the names and paths of the files whose names are wanted."""
        for name, make in self._makers().items():
            if wanted(name):
                yield name, make()

    def _makers(self) -> dict[str, Callable[[], pathlib.Path]]:
        def ours(form: str, **types: str) -> Callable[[], pathlib.Path]:
            return lambda: self._exported(form, types)

        return {
            FLOAT: ours(FLOAT),
            "litert-w2a8": ours("litert-w2a8"),
            "litert-w2a8, uint8 to int8": ours("litert-w2a8", input_type="uint8", **_CODES),
            "litert-w2a8, int8 to int8": ours("litert-w2a8", input_type="int8", **_CODES),
            "onnx-float32": ours("onnx-float32"),
            "onnx-w8a8": ours("onnx-w8a8"),
            "onnx-w2a8": ours("onnx-w2a8"),
            "TensorFlow's converter, int8": ours("litert-int8-full"),
            "litert-quantizer, static int8": self._by_litert_quantizer,
            "onnxruntime, static QDQ int8": self._by_onnxruntime,
        }

    def _exported(self, form: str, types: dict[str, str]) -> pathlib.Path:
        from tfqkd.export.exporter import write_format  # noqa: PLC0415
        from tfqkd.export.formats import FORMATS  # noqa: PLC0415

        changed: Any = dataclasses.replace(FORMATS[form], tolerance=math.inf, **types)
        source = self._trained if changed.is_integer else self._plain
        folder = self._directory / types.get("input_type", "float32")
        return pathlib.Path(write_format(source, folder, changed).path)

    def _by_litert_quantizer(self) -> pathlib.Path:
        import litert_quantizer  # noqa: PLC0415

        made = litert_quantizer.Quantizer(str(self._exported(FLOAT, {})))
        made.load_quantization_recipe(litert_quantizer.recipe.static_wi8_ai8())
        rows = [{"images": image[np.newaxis].astype(np.float32)} for image in self._images]
        ranges = made.calibrate({"serving_default": rows})
        path = self._directory / "litert-quantizer.tflite"
        path.write_bytes(made.quantize(ranges).quantized_model)
        return path

    def _by_onnxruntime(self) -> pathlib.Path:
        from onnxruntime import quantization  # noqa: PLC0415

        rows = iter([{"images": image[np.newaxis].astype(np.float32)} for image in self._images])

        class Reader(quantization.CalibrationDataReader):
            def get_next(self) -> dict[str, np.ndarray] | None:
                return next(rows, None)

        given = self._exported("onnx-float32", {})
        prepared = self._directory / "prepared.onnx"
        quantization.shape_inference.quant_pre_process(
            str(given), str(prepared), skip_symbolic_shape=True
        )
        path = self._directory / "onnxruntime.onnx"
        # As its page advises for x86-64 with VNNI: uint8 activations, int8 weights, one scale a channel.
        quantization.quantize_static(
            str(prepared),
            str(path),
            Reader(),
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
        )
        return path

    @functools.cached_property
    def _plain(self) -> Any:
        from tfqkd.export.source import Source  # noqa: PLC0415

        return Source.prepare(self._model, None, self._images, self._images)

    @functools.cached_property
    def _trained(self) -> Any:
        import tfqkd  # noqa: PLC0415
        from tfqkd.export.source import Source  # noqa: PLC0415

        quantized = tfqkd.quantize_model(self._model, tfqkd.DeployScheme())
        tfqkd.calibrate_activations(quantized, self._images.astype(np.float32))
        return Source.prepare(quantized, None, self._images, self._images)

    @functools.cached_property
    def _model(self) -> Any:
        import tfqkd  # noqa: PLC0415 (imports TensorFlow)

        return tfqkd.models.build(self._network, self._shape, 10, mean=[120.0] * 3, std=[60.0] * 3)
