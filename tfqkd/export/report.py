"""What an export wrote, and how it was checked."""

import dataclasses
import gzip
import pathlib

from tfqkd.runtime.outputs import LOGITS


@dataclasses.dataclass(frozen=True)
class QuantizedKernel:
    """A kernel that a file stores as integer codes.

    Attributes:
        layer: The Keras layer it belongs to.
        weights: How many weights it has.
        max_code: The largest |code|: 1 for a ternary kernel.
        bits: How many bits the file takes for a weight.
    """

    layer: str
    weights: int
    max_code: int
    bits: int


@dataclasses.dataclass(frozen=True)
class LayerPacking:
    """How few bytes the codes of a quantized kernel could take.

    Attributes:
        layer: The Keras layer.
        weights: How many weights it has.
        bits: How many bits a packed code takes: as many as tell its different codes apart, at
            least 2.
        packed_bytes: What all codes take at that width, without scales.
        entropy_bits: The entropy of its codes, in bits a weight: no code of single weights takes
            less. log2 3 = 1.58 where the three values are as frequent as each other.
    """

    layer: str
    weights: int
    bits: int
    packed_bytes: float
    entropy_bits: float

    @property
    def entropy_bytes(self) -> float:
        """What all codes take at their entropy."""
        return self.entropy_bits * self.weights / 8


@dataclasses.dataclass(frozen=True)
class LayerSize:
    """What a kernel takes in a file.

    Attributes:
        layer: The Keras layer it belongs to; several names, with commas, if their kernels are equal.
        weights: How many weights it has.
        type: How it is stored: "int2", "int2 + int2" for two planes, "float32" and so on.
        bytes: What its codes or floats take; scales take 4 to 12 bytes a channel more.
    """

    layer: str
    weights: int
    type: str
    bytes: int


@dataclasses.dataclass(frozen=True)
class Report:
    """One exported file. `dataclasses.asdict` gives what JSON can hold.

    Attributes:
        format: Name of the format.
        path: The file or directory.
        bytes: Its size.
        gzip_bytes: Its size when each file in it is compressed: what a download costs.
        images: How many images, or other examples, it was verified on.
        max_difference: Largest |output − Keras output| over these, all outputs and all classes.
        agreement: Share of these with the same best class as the Keras model.
        accuracy: Share of the test images that it classifies right; None without test images.
        quantized: The kernels that are stored as integer codes.
        float_layers: The layers whose kernels are stored as floats.
        packing: How few bytes the model's codes could take, whatever the format.
        rounded_layers: Float layers whose kernels were rounded to int8, on request.
        direct_layers: Dense layers that multiply 2-bit codes and round activations, on request.
        layers: What each kernel takes, in the order in which the file computes with them.
        output: What the file returns, of `tfqkd.runtime.outputs.OUTPUTS`; of several outputs by name.
    """

    format: str
    path: str
    bytes: int
    gzip_bytes: int
    images: int
    max_difference: float
    agreement: float
    accuracy: float | None
    quantized: tuple[QuantizedKernel, ...]
    float_layers: tuple[str, ...]
    packing: tuple[LayerPacking, ...]
    rounded_layers: tuple[str, ...] = ()
    direct_layers: tuple[str, ...] = ()
    layers: tuple[LayerSize, ...] = ()
    output: str | dict[str, str] = LOGITS

    def __str__(self) -> str:
        accuracy = (
            ""
            if self.accuracy is None
            else f", {100 * self.accuracy:.2f} % of the test images right"
        )
        return (
            f"{self.path} ({self.format}): {self.bytes:,} bytes, {self.gzip_bytes:,} with gzip\n"
            f"verified on {self.images} images: outputs differ by up to {self.max_difference:.1e}, "
            f"{100 * self.agreement:.1f} % have the same best class{accuracy}\n"
            f"kernels: {len(self.quantized)} quantized, {len(self.float_layers)} float"
        )


def file_sizes(path: pathlib.Path) -> tuple[int, int]:
    """Returns the bytes of a file or of a directory's files: as they are, and each compressed."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    contents = [file.read_bytes() for file in files if file.is_file()]
    return sum(map(len, contents)), sum(len(gzip.compress(content)) for content in contents)
