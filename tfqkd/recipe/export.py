"""Settings of the export."""

import dataclasses

from tfqkd.recipe.setting import setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class Export:
    """What the quantized student is written as."""

    formats: tuple[str, ...] = setting(
        ("saved_model", "litert-float32", "litert-int8", "litert-int2"),
        "Formats to export the student in, separated by commas; none if empty.",
    )
