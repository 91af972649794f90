"""The formats a model can be exported to. Needs no TensorFlow: flags are checked against it."""

import dataclasses
import importlib.util


@dataclasses.dataclass(frozen=True)
class Format:
    """A kind of file that tfqkd writes.

    Attributes:
        name: What flags and recipes call it.
        file_name: What the file (or directory) is called inside an export directory.
        description: One line for `--help`.
        tolerance: By how much a logit may differ from the Keras model's, relative to the largest
            |logit| of the images it is verified on, or to 1 if that is smaller.
        runtime: The module that runs the file.
        kernel_bits: The fewest bits that a code of a quantized kernel takes; None if the file has
            no codes.
        drops_names: Whether the names of inner tensors are left out, to save their bytes.
        extra: The extra of the package tfqkd that installs what the format needs.
        needs: Modules that write the file, beside TensorFlow and the runtime.
        weights: What the converter makes of float weights: "float32", "float16", or "int8", where
            activations are int8 too.
        top1_points: By how many percentage points the accuracy on test images may fall, beside what
            chance explains; above 0 even for exact files, for the sake of ties.
        rounds_head: Whether the last layer's kernel, if it is float, is rounded to int8.
        multiplies_codes: Whether dense layers multiply 2-bit codes natively, and round their
            activations to int8 for it.
        weight_bits: Of files that compute with integers alone, by the steps that were trained: the most bits
            that a weight's code may take, but in the first and the last layer and in depthwise ones, where
            it is 8. None for files that compute with floats or measure ranges.
        input_type: Of such files: "float32" or "uint8" for pixels, "int8" for pixels less 128.
        output_type: Of such files: "float32", or "int8" for the codes of the outputs.
        arena_bytes: Of "tflm": the most that tensors and structures may take on the device; 0 for any.
        payload: Where the format is a folder, the file in it that counts.
        is_packed: Whether the codes take as many bits as they need, in a file that must be widened before an
            interpreter runs it.
    """

    name: str
    file_name: str
    description: str
    tolerance: float
    runtime: str
    kernel_bits: int | None = None
    drops_names: bool = False
    extra: str = "export"
    needs: tuple[str, ...] = ()
    weights: str = "float32"
    top1_points: float = 0.05
    rounds_head: bool = False
    multiplies_codes: bool = False
    weight_bits: int | None = None
    input_type: str = "float32"
    output_type: str = "float32"
    is_packed: bool = False
    arena_bytes: int = 0
    payload: str = ""

    @property
    def options(self) -> dict[str, str]:
        """The options that change the file, as the user gives them."""
        return {
            **({"head": "int8"} if self.rounds_head else {}),
            **({"dense_kernels": "int2"} if self.multiplies_codes else {}),
            **({"input_type": self.input_type} if self.input_type != "float32" else {}),
            **({"output_type": self.output_type} if self.output_type != "float32" else {}),
        }

    @property
    def is_integer(self) -> bool:
        """Whether the file computes with integers alone, by the steps that were trained."""
        return self.weight_bits is not None

    @property
    def has_types(self) -> bool:
        """Whether `input_type` and `output_type` can be chosen."""
        return self.is_integer and self.runtime != "tflite_micro"

    @property
    def is_calibrated(self) -> bool:
        """Whether activations are rounded too, so that their ranges must be measured first."""
        return self.weights == "int8"

    @property
    def has_narrow_codes(self) -> bool:
        """Whether the file may hold codes below 8 bits that `tfqkd.export.load` widens."""
        return self.kernel_bits is not None and self.kernel_bits < 8 and not self.is_integer

    def require_runtime(self) -> None:
        """Raises ImportError if a module is missing, so that a run can stop before it trains."""
        for module in (self.runtime, *self.needs):
            if importlib.util.find_spec(module) is None:
                raise ImportError(
                    f"The format {self.name} needs the module {module}. Received: an environment "
                    f"without it. Install it with: pip install 'tfqkd[{self.extra}]'"
                )


FORMATS: dict[str, Format] = {
    entry.name: entry
    for entry in (
        Format(
            name="saved_model",
            file_name="saved_model",
            description="TensorFlow SavedModel: needs TensorFlow, neither Keras nor tfqkd.",
            tolerance=1e-5,
            runtime="tensorflow",
        ),
        Format(
            name="keras",
            file_name="student.keras",
            description="Keras file of the stripped model: needs tf_keras, not tfqkd.",
            tolerance=1e-5,
            runtime="tf_keras",
        ),
        Format(
            name="litert-float32",
            file_name="student-float32.tflite",
            description="LiteRT (TensorFlow Lite), float32 weights.",
            tolerance=1e-4,
            runtime="ai_edge_litert",
        ),
        Format(
            name="litert-float16",
            file_name="student-float16.tflite",
            description="LiteRT, float16 weights, computed in float32.",
            tolerance=1e-2,
            runtime="ai_edge_litert",
            weights="float16",
            top1_points=0.5,
        ),
        Format(
            name="litert-int8",
            file_name="student-int8.tflite",
            description="LiteRT, the same values as int8 codes with a scale per channel.",
            tolerance=1e-4,
            runtime="ai_edge_litert",
            kernel_bits=8,
        ),
        Format(
            name="litert-int8-full",
            file_name="student-int8-full.tflite",
            description="LiteRT, int8 weights and activations, calibrated on training images.",
            tolerance=0.25,
            runtime="ai_edge_litert",
            weights="int8",
            top1_points=0.5,
        ),
        Format(
            name="litert-int2",
            file_name="student-int2.tflite",
            description="LiteRT, the same values as codes of 2, 4 or 8 bits: the smallest file.",
            tolerance=1e-4,
            runtime="ai_edge_litert",
            kernel_bits=2,
            drops_names=True,
        ),
        *(
            Format(
                name=f"litert-w{bits}a8",
                file_name=f"student-w{bits}a8.tflite",
                description=f"LiteRT, integers alone: weights of {bits} bits as int8, activations by the "
                "8-bit steps that were trained (DeployScheme).",
                tolerance=0.25,
                runtime="ai_edge_litert",
                top1_points=0.5,
                weight_bits=bits,
            )
            for bits in (8, 4, 2)
        ),
        Format(
            name="litert-w2a8-packed",
            file_name="student-w2a8.packed",
            description="litert-w2a8 as a download: 2-bit codes, to be widened to the very same file.",
            tolerance=0.25,
            runtime="ai_edge_litert",
            top1_points=0.5,
            weight_bits=2,
            is_packed=True,
        ),
        Format(
            name="tflm",
            file_name="student.tflm",
            description="TensorFlow Lite Micro, integers alone: ternary weights as 2-bit look-up tables, "
            "int8 in and out, and the same as C source.",
            tolerance=0.25,
            runtime="tflite_micro",
            extra="micro",
            needs=("ai_edge_litert",),
            top1_points=0.5,
            weight_bits=8,
            input_type="int8",
            output_type="int8",
            payload="model.tflite",
        ),
        Format(
            name="onnx-float32",
            file_name="student-float32.onnx",
            description="ONNX, float32 weights.",
            tolerance=1e-4,
            runtime="onnxruntime",
            extra="onnx",
            needs=("onnx", "tf2onnx"),
        ),
        Format(
            name="onnx-int2",
            file_name="student-int2.onnx",
            description="ONNX (opset 25), the same values as codes of 2, 4 or 8 bits.",
            tolerance=1e-4,
            runtime="onnxruntime",
            kernel_bits=2,
            drops_names=True,
            extra="onnx",
            needs=("onnx", "tf2onnx"),
        ),
        *(
            Format(
                name=f"onnx-w{bits}a8",
                file_name=f"student-w{bits}a8.onnx",
                description=f"ONNX (opset 25), integers alone: weights of {bits} bits, activations by the "
                "8-bit steps that were trained (DeployScheme).",
                tolerance=0.25,
                runtime="onnxruntime",
                kernel_bits=bits,
                extra="onnx",
                needs=("onnx",),
                top1_points=0.5,
                weight_bits=bits,
            )
            for bits in (8, 2)
        ),
    )
}


def format_of(runtime: str, name: str) -> Format:
    """Returns the format with this name, if `runtime` runs it.

    Raises:
        ValueError: If there is none.
    """
    known = [form.name for form in FORMATS.values() if form.runtime == runtime]
    if name not in known:
        raise ValueError(
            f"`format` must be one of {', '.join(known)}. Received: format={name!r}. "
            "For other formats use tfqkd.export.export."
        )
    return FORMATS[name]


def parse_formats(text: str) -> tuple[Format, ...]:
    """Returns the formats that a comma-separated list names, in its order, each once.

    Args:
        text: For example "saved_model,litert-int8"; spaces around the names do not count.

    Raises:
        ValueError: If a name is unknown, or the list is empty.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in FORMATS]
    if unknown or not names:
        raise ValueError(
            f"`formats` must be a comma-separated list of: {', '.join(FORMATS)}. "
            f"Received: {text!r}. "
            + (f"Unknown: {', '.join(unknown)}." if unknown else "Name one.")
        )
    return tuple(FORMATS[name] for name in dict.fromkeys(names))
