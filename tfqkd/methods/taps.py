"""Which layers of student and teacher a method compares, where the user names none."""

from collections.abc import Sequence

from tfqkd.core.schedules import Linear
from tfqkd.fronts.terms import Layer, Network


def falling(falls: bool) -> Linear | None:
    """Returns the schedule of a weight that falls to 0 on a straight line, or of one that does not."""
    return Linear(1.0, 0.0) if falls else None


def require_pair(method: str, student: Sequence[str], teacher: Sequence[str]) -> None:
    """Raises ValueError unless both taps of a method are named, or neither; of lists as many."""
    if isinstance(student, str):
        if bool(student) != bool(teacher):
            raise ValueError(
                f"`{method}.student_tap` and `{method}.teacher_tap` go together. "
                f"Received: {student!r} and {teacher!r}. Name both, or neither."
            )
    elif len(student) != len(teacher):
        raise ValueError(
            f"`{method}.student_taps` and `{method}.teacher_taps` must name the same number of layers. "
            f"Received: {student} and {teacher}."
        )


def one_teacher(method: str, teachers: Sequence[Network]) -> Network:
    """Returns the one live teacher whose layers can be read.

    Raises:
        ValueError: If there is none, or several.
    """
    if len(teachers) != 1 or not teachers[0].layers:
        raise ValueError(
            f"The method {method} needs one live teacher that shows its layers. Received: "
            f"{[teacher.name for teacher in teachers]}. Name one Keras model as teacher, without kept logits."
        )
    return teachers[0]


def ends_of_stages(
    method: str, student: Network, teacher: Network
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the names of the last layers of each height and width that both have, largest maps first.

    Raises:
        ValueError: If they have no maps of one size.
    """
    ends = [
        {layer.output_shape[:2]: layer.name for layer in network.layers if is_map(layer)}
        for network in (student, teacher)
    ]
    sizes = [size for size in ends[0] if size in ends[1]]
    if not sizes:
        raise ValueError(
            f"The method {method} needs maps of one height and width in student and teacher. Received: "
            f"{sorted(ends[0])} and {sorted(ends[1])}. Name layers as {method}.student_taps and "
            f"{method}.teacher_taps."
        )
    return tuple(ends[0][size] for size in sizes), tuple(ends[1][size] for size in sizes)


def is_map(layer: Layer) -> bool:
    """Whether a layer puts out feature maps `[H, W, C]`; an input does not count."""
    shape = layer.output_shape
    return len(shape) == 3 and None not in shape and layer.kind != "InputLayer"


def embedding(method: str, network: Network) -> str:
    """Returns the name of the last layer that puts out a vector for each example, before the logits.

    Raises:
        ValueError: If there is none.
    """
    kinds = [layer.kind for layer in network.layers]
    last = len(kinds) - 1 - kinds[::-1].index("Dense") if "Dense" in kinds else len(kinds) - 1
    vectors = [
        layer.name
        for layer in network.layers[: max(last, 0)]
        if len(layer.output_shape) == 1 and layer.kind != "InputLayer"
    ]
    if not vectors:
        raise ValueError(
            f"The method {method} needs a layer that puts out a vector before the logits. Received: "
            f"{network.name} without one. Name a layer as {method}.student_tap or {method}.teacher_tap."
        )
    return vectors[-1]


def shape_of(network: Network, name: str) -> tuple[int | None, ...]:
    """Returns what a layer puts out, without the batch.

    Raises:
        ValueError: If there is no such layer.
    """
    shapes = {layer.name: layer.output_shape for layer in network.layers}
    if name not in shapes:
        raise ValueError(
            f"Taps must be names of layers. Received: {name} for {network.name}, which has "
            f"{', '.join(shapes)}."
        )
    return shapes[name]
