"""Settings of the export."""

import dataclasses

from tfqkd.recipe.setting import at_least, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class Export:
    """What the quantized student is written as."""

    formats: tuple[str, ...] = setting(
        ("saved_model", "litert-float32", "litert-int8", "litert-int2"),
        "Formats to export the student in, separated by commas; none if empty.",
    )
    arena_bytes: int = setting(
        0,
        "The most bytes that tensors and structures of the format tflm may take on the device, which is "
        "known before anything is trained; 0 for any.",
        rule=at_least(0),
    )
