"""Which layers of student and teacher a method compares, where the user names none."""

from collections.abc import Sequence

from tfqkd.fronts.terms import Layer, Network


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
