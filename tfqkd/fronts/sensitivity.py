"""What each layer's quantization costs, and which bits to give it under a budget; of either Keras."""

import dataclasses
import math
import os
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from tfqkd.core.policy import Bits, LayerPolicy, Selector, Width
from tfqkd.core.quantizer import require_choice
from tfqkd.core.schemes import Scheme, TernaryScheme
from tfqkd.core.summary import FLOAT_BYTES
from tfqkd.fronts.batches import batches_of, input_batches
from tfqkd.fronts.choice import module_of, of_front
from tfqkd.fronts.logits import require_logits
from tfqkd.tables import Table

Mode = Literal["one", "all_but_one"]
MODES: tuple[str, ...] = ("one", "all_but_one")


@dataclasses.dataclass(frozen=True)
class LayerSensitivity:
    """One measurement: one layer quantized, or all but one.

    Attributes:
        layer: The layer.
        bits: The widths of the layer, or in the mode "all_but_one" those of all others.
        loss: Mean cross-entropy of the labels, in nats.
        accuracy: Share of examples whose best class is right, 0 to 1.
        packed_bytes: Size of the layer's kernels with these bits, scales included.
    """

    layer: str
    bits: Bits
    loss: float
    accuracy: float
    packed_bytes: int


@dataclasses.dataclass(frozen=True)
class Sensitivity:
    """What `sensitivity` measured.

    Attributes:
        mode: "one": each row has one layer quantized. "all_but_one": each row has all but one quantized.
        rows: The measurements, by layer in the model's order, then by bits.
        loss: Of the float model.
        accuracy: Of the float model.
        float_bytes: Of each layer's kernels in float32.
        other_bytes: Of what is never quantized: biases, batch norm and layers that were not asked for.
    """

    mode: Mode
    rows: tuple[LayerSensitivity, ...]
    loss: float
    accuracy: float
    float_bytes: dict[str, int]
    other_bytes: int

    def __str__(self) -> str:
        left = "quantized" if self.mode == "one" else "left float"
        table = Table(f"layer {left}", "bits", "loss", "loss - float", "accuracy %", "packed B")
        table.add(
            "none (float model)", "", f"{self.loss:.4f}", "", f"{100 * self.accuracy:.2f}", ""
        )
        for row in self.rows:
            table.add(
                row.layer,
                _text(row.bits),
                f"{row.loss:.4f}",
                f"{row.loss - self.loss:+.4f}",
                f"{100 * row.accuracy:.2f}",
                f"{row.packed_bytes:,}",
            )
        return str(table)

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draws the rise of the loss by layer, a line for each width, as a PNG or SVG file."""
        from matplotlib.figure import Figure  # noqa: PLC0415 (slow to import)

        names = list(self.float_bytes)
        figure = Figure(figsize=(max(5, 0.4 * len(names)), 4), layout="constrained")
        axes = figure.subplots()
        for bits in dict.fromkeys(row.bits for row in self.rows):
            rise = {row.layer: row.loss - self.loss for row in self.rows if row.bits == bits}
            axes.plot(list(rise), list(rise.values()), "o-", label=f"{_text(bits)} bits")
        axes.tick_params(axis="x", rotation=90)
        axes.set_ylabel("rise of the loss in nats")
        kind = (
            "this layer alone quantized" if self.mode == "one" else "all but this layer quantized"
        )
        axes.set_title(kind)
        axes.axhline(0, color="grey", linewidth=0.8)
        axes.legend()
        figure.savefig(path)

    def propose(self, budget_bytes: int) -> dict[Selector, Width]:
        """Returns the policy of least loss that fits a budget, if the rises of the layers' losses add up.

        An integer program (`scipy.optimize.milp`) chooses bits, or float, for every layer: least sum of the
        measured rises, sum of the bytes within the budget.

        Args:
            budget_bytes: For the whole model: packed kernels, scales, and `other_bytes`.

        Returns:
            For `quantize_model(model, scheme, policy)`: bits of each measured layer, None for float, which
            all others are.

        Raises:
            ValueError: If the mode is not "one", no choice fits the budget, or the float model is the best
                that does.
        """
        if self.mode != "one":
            raise ValueError(
                "A proposal needs the cost of each layer alone. "
                f"Received: mode={self.mode!r}. Measure with mode='one'."
            )
        choices: list[tuple[str, Bits | None, float, int]] = [
            (name, None, 0.0, size) for name, size in self.float_bytes.items()
        ]
        choices += [(r.layer, r.bits, r.loss - self.loss, r.packed_bytes) for r in self.rows]
        smallest = self.other_bytes + sum(
            min(size for name, _, _, size in choices if name == layer) for layer in self.float_bytes
        )
        if budget_bytes < smallest:
            raise ValueError(
                f"`budget_bytes` must be at least {smallest:,}, the size with the fewest bits measured. "
                f"Received: budget_bytes={budget_bytes:,}. Allow more, or measure fewer bits."
            )
        chosen = _cheapest(choices, list(self.float_bytes), budget_bytes - self.other_bytes)
        if all(bits is None for _, bits, _, _ in chosen):
            raise ValueError(
                f"`budget_bytes` must leave something to quantize. Received: budget_bytes={budget_bytes:,}, "
                f"which the float model fits with {self.other_bytes + sum(self.float_bytes.values()):,} at "
                "the least loss. Allow less, or keep the float model."
            )
        widths = {name: bits for name, bits, _, _ in chosen}
        # A name alone would be an expression, and layers that none selects have the scheme's bits.
        policy: dict[Selector, Width] = {(name,): widths[name] for name in self.float_bytes}
        return {**policy, ".*": None}


def sensitivity(
    model: Any,
    data: Any,
    scheme: Scheme | None = None,
    *,
    bits: Sequence[int | tuple[int | None, int | None]] = (2, 4, 8),
    layers: LayerPolicy = ".*",
    mode: Mode = "one",
    calibration: Any = None,
    print_fn: Callable[[str], None] | None = print,
) -> Sensitivity:
    """Quantizes one layer of a trained model at a time, or all but one, and measures loss and accuracy.

    Nothing is trained: it tells which layers to be careful with before the training. The model stays as it
    is.

    Example:
        ```python
        found = tfqkd.sensitivity(model, (images, labels), tfqkd.UniformScheme(2))
        found.plot("sensitivity.png")
        quantized = tfqkd.quantize_model(model, tfqkd.UniformScheme(2), found.propose(50_000))
        ```

    Args:
        model: A trained float Functional or Sequential model, of tf_keras or Keras 3, that returns logits [N,
            classes].
        data: (inputs, labels), or an iterable of such batches; labels are classes, [N] or [N, 1], or one-hot.
        scheme: The quantizers; `TernaryScheme()` by default.
        bits: Widths to try: of the weights (activations: the scheme's), or (weights, activations).
        layers: The layers to try, as for `quantize_model`.
        mode: "one" (default): a single layer is quantized. "all_but_one": a single one of `layers` is not.
        calibration: As for `calibrate_activations`: on it the first steps of activations and the statistics
            of batch norm are taken before each measurement. None measures without.
        print_fn: Called with the table; None prints nothing.

    Returns:
        The measurements; it prints as a table, plots, and proposes a policy.

    Raises:
        ValueError: If an argument breaks its rule, or the model cannot be quantized or ends in softmax.
    """
    require_choice("mode", mode, MODES)
    scheme = scheme or TernaryScheme()
    names = list(module_of(model, "model").require_quantizable(model, scheme, layers))
    require_logits(model, "model")
    batches = list(batches_of(data))
    settled = None if calibration is None else list(input_batches(calibration))
    loss, accuracy = _measure(model, batches)
    weights = _kernel_weights(model, scheme, names)
    sizes = {name: FLOAT_BYTES * weights[name] for name in names}
    widths = [_full(width, scheme) for width in bits]
    packed = {width: _packed(_quantized(model, scheme, names, width)) for width in widths}
    rows = []
    float_activations = None
    for name in names:
        for width in widths:
            chosen = [name] if mode == "one" else [other for other in names if other != name]
            quantized = _quantized(model, scheme, chosen, width)
            if settled is not None:
                _settle(quantized, settled)
            measured = of_front(model, "strip_quantization")(quantized)
            if not any(True for _ in of_front(model, "quantized_activations")(quantized)):
                # Models of float activations differ in their weights alone: one of them predicts for all.
                if float_activations is None:
                    float_activations = measured
                float_activations.set_weights(measured.get_weights())
                measured = float_activations
            figures = _measure(measured, batches)
            size = packed[width].get(name, sizes[name])
            rows.append(LayerSensitivity(name, width, *figures, size))
    total = FLOAT_BYTES * sum(math.prod(weight.shape) for weight in model.weights)
    found = Sensitivity(mode, tuple(rows), loss, accuracy, sizes, total - sum(sizes.values()))
    if print_fn:
        print_fn(str(found))
    return found


def _full(width: int | tuple[int | None, int | None], scheme: Scheme) -> Bits:
    return Bits(*width) if isinstance(width, tuple) else Bits(width, scheme.bits.activations)


def _settle(model: Any, calibration: list[Any]) -> None:
    # Not every layer reads activations that can be quantized: the first one reads the model's input.
    if any(True for _ in of_front(model, "quantized_activations")(model)):
        of_front(model, "calibrate_activations")(model, calibration)
    if module_of(model, "batch_norm").batch_norms(model):
        of_front(model, "reestimate_batch_norm")(model, calibration)


def _measure(model: Any, batches: list[tuple]) -> tuple[float, float]:
    """Mean cross-entropy in nats, in float64, and accuracy."""
    total, right, count = 0.0, 0, 0
    for inputs, labels in batches:
        logits = np.asarray(model.predict(inputs, verbose=0)).astype(np.float64)
        classes = np.asarray(labels)
        classes = classes.argmax(axis=1) if classes.size > len(classes) else classes.reshape(-1)
        shifted = logits - logits.max(axis=1, keepdims=True)
        of_label = np.take_along_axis(shifted, classes[:, None].astype(np.int64), axis=1)
        total += float(np.sum(np.log(np.exp(shifted).sum(axis=1)) - of_label[:, 0]))
        right += int(np.sum(np.argmax(logits, axis=1) == classes))
        count += len(classes)
    if not count:
        raise ValueError("There must be data to measure on. Received: no batch.")
    return total / count, right / count


def _quantized(model: Any, scheme: Scheme, names: list[str], bits: Bits) -> Any:
    return of_front(model, "quantize_model")(model, scheme, {tuple(names): bits, ".*": None})


def _kernel_weights(model: Any, scheme: Scheme, names: list[str]) -> dict[str, int]:
    """How many weights the kernels of each layer have."""
    quantized = _quantized(model, scheme, names, Bits(scheme.bits.weights))
    counts = dict.fromkeys(names, 0)
    for kernel in of_front(model, "quantized_kernels")(quantized):
        counts[kernel.layer] += math.prod(kernel.latent.shape)
    return counts


def _packed(model: Any) -> dict[str, int]:
    """Bytes of the quantized kernels of each layer, scales included."""
    sizes: dict[str, int] = {}
    for kernel in of_front(model, "quantized_kernels")(model):
        codes = math.ceil(kernel.quantizer.bits * math.prod(kernel.latent.shape) / 8)
        size = codes + FLOAT_BYTES * math.prod(kernel.scales().shape)
        sizes[kernel.layer] = sizes.get(kernel.layer, 0) + size
    return sizes


def _cheapest(
    choices: list[tuple[str, Bits | None, float, int]], names: list[str], budget: int
) -> list[tuple[str, Bits | None, float, int]]:
    """One choice for each name, of least cost, with sizes within the budget."""
    from scipy.optimize import Bounds, LinearConstraint, milp  # noqa: PLC0415 (slow to import)

    one_each = np.array([[choice[0] == name for choice in choices] for name in names], float)
    sizes = np.array([[choice[3] for choice in choices]], float)
    result = milp(
        c=[choice[2] for choice in choices],
        constraints=[
            LinearConstraint(one_each, 1, 1),
            LinearConstraint(sizes, -np.inf, budget),
        ],
        integrality=np.ones(len(choices)),
        bounds=Bounds(0, 1),
    )
    return [choice for choice, taken in zip(choices, result.x, strict=True) if taken > 0.5]


def _text(bits: Bits) -> str:
    weights = bits.weights or "float"
    return str(weights) if bits.activations is None else f"{weights}/{bits.activations}"
