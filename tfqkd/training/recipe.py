"""A `Recipe` says everything about a run; pure Python, so that flags are checked before TensorFlow loads."""

import dataclasses
import json
import re
from typing import Any

from tfqkd.export.formats import parse_formats
from tfqkd.training.rules import (
    bit_width,
    check_float_student,
    check_formats,
    check_model,
    check_quantizer,
    check_ranges,
    check_schedule,
    is_regex,
)
from tfqkd.training.settings import (
    AUTO_PRECISION,
    FLOAT_BITS,
    NO_TEACHER,
    QUANTIZED,
    STUDENT,
    TEACHER,
    TERNARY_QUANTIZERS,
    Settings,
)

_SOFT = ("temperature", "scale_by_temperature_squared", "soft_weight", "dkd_beta", "distil_float")
"""What matters only with a teacher."""
_ANNEALED = ("coefficient", "schedule", "coefficient_end", "schedule_on", "soft_loss")
"""What matters only where losses are weighed."""
_THREE_LEVELS = ("uniform", *TERNARY_QUANTIZERS)
"""Quantizers whose 2 bits hold -Δ, 0 and Δ; those of the others hold four levels."""
_VIEWS = 16  # Of a teacher cache that is asked for without a number.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe(Settings):
    """What a run is: data, models, the settings of every stage, and what is exported.

    Every field is a flag of `bin/train`; `Recipe.settings()` lists them with their help. A recipe is checked
    when it is made.

    Raises:
        ValueError: If a value breaks a rule; the error names the field.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.teacher_cache and not self.teacher_views:
            object.__setattr__(self, "teacher_views", _VIEWS)
        check_ranges(self)
        if self.distils:
            check_schedule(self)
        check_quantizer(self)
        check_float_student(self)
        for name in ("student", "teacher"):
            check_model(name, getattr(self, name))
        self.bits_by_layer()
        self.profiled_steps()
        self.gradual_widths()
        self.gradual_shares()
        if self.formats:
            parse_formats(",".join(self.formats))
        check_formats(self)

    @property
    def has_teacher(self) -> bool:
        """Whether a teacher's logits enter the loss at any time."""
        silent = self.schedule in ("constant", "step") or self.coefficient_end == 0
        return not (
            self.teacher == NO_TEACHER
            or self.soft_loss == "none"
            or (self.coefficient == 0 and silent)
        )

    @property
    def teaches_float(self) -> bool:
        """Whether the teacher's logits enter the loss of the float student too."""
        return self.distil_float and self.has_teacher

    @property
    def distils(self) -> bool:
        """Whether the quantized stage weighs its losses at all: a teacher, or the control without one."""
        return self.has_teacher or self.soft_loss == "none"

    @property
    def kind(self) -> str:
        """What the weights of the last stage are: "ternary", "float", "4-bit", or "2-bit" of four levels."""
        if self.bits == FLOAT_BITS:
            return "float"
        ternary = self.bits == 2 and self.quantizer in _THREE_LEVELS
        return "ternary" if ternary else f"{self.bits}-bit"

    @property
    def title(self) -> str:
        """What the last stage trains, for tables and progress: "ternary student, gradual coefficient"."""
        kind = self.kind
        if self.activation_bits != FLOAT_BITS:
            kind += f" ({self.activation_bits}-bit activations)"
        if self.has_teacher:
            return f"{kind} student, {self.schedule} coefficient"
        return f"{kind} student, {'control' if self.distils else 'no teacher'}"

    def teachers(self) -> tuple[str, ...]:
        """Returns the teachers' names or paths; none if no teacher is asked."""
        return tuple(self.teacher.split(",")) if self.has_teacher else ()

    def seed_of(self, stage: str) -> int:
        """Returns the seed of a stage."""
        own = stage == QUANTIZED or self.pretrain_seed < 0
        return self.seed if own else self.pretrain_seed

    def bits_by_layer(self) -> dict[Any, int | tuple[int | None, int | None] | None]:
        """Returns `layer_bits` as a policy for `quantize_model`.

        Raises:
            ValueError: If a rule is not REGEX=BITS, REGEX=BITS/ACTIVATION_BITS or REGEX=float.
        """
        policy: dict[Any, int | tuple[int | None, int | None] | None] = {}
        for rule in self.layer_bits:
            pattern, _, widths = rule.rpartition("=")
            bits = [bit_width(width) for width in widths.split("/")]
            if not pattern or not 1 <= len(bits) <= 2 or 0 in bits or not is_regex(pattern):
                raise ValueError(
                    "`layer_bits` must hold rules REGEX=BITS with 2 to 8 bits, REGEX=BITS/ACTIVATION_BITS "
                    f"or REGEX=float. Received: {rule!r}. For example: 'stage3_.*=4,logits=8/8'."
                )
            if len(bits) == 2 and bits[1] and self.activation_bits == FLOAT_BITS:
                raise ValueError(
                    "`layer_bits` may name activation bits only where activations are quantized. "
                    f"Received: {rule!r} with activation_bits={FLOAT_BITS}. Set --activation_bits."
                )
            policy[pattern] = bits[0] if len(bits) == 1 else (bits[0], bits[1])
        return policy

    def gradual_widths(self) -> tuple[int, ...]:
        """Returns `gradual_bits` as numbers.

        Raises:
            ValueError: If they do not fall from 8 at most towards `bits`, or the quantizer has one width.
        """
        widths = [bit_width(width) or 0 for width in self.gradual_bits]
        if not widths:
            return ()
        falls = [*widths, self.bits] == sorted({*widths, self.bits}, reverse=True)
        if 0 in widths or not falls or self.quantizer in TERNARY_QUANTIZERS:
            raise ValueError(
                "`gradual_bits` must fall from 8 at most towards `bits`, for a quantizer that has them. "
                f"Received: gradual_bits={','.join(self.gradual_bits)} with bits={self.bits}, "
                f"quantizer={self.quantizer}. For example --gradual_bits=8,4 --bits=2."
            )
        return tuple(widths)

    def gradual_shares(self) -> tuple[float, ...]:
        """Returns `gradual_share` as numbers.

        Raises:
            ValueError: If they do not rise within (0, 1), or nothing is quantized.
        """
        try:
            shares = [float(share) for share in self.gradual_share]
        except ValueError:
            shares = [0.0]
        rising = shares == sorted(set(shares)) and all(0 < share < 1 for share in shares)
        if not rising or (shares and self.bits == FLOAT_BITS):
            raise ValueError(
                "`gradual_share` must rise within 0 to 1, for weights that are quantized. "
                f"Received: gradual_share={','.join(self.gradual_share)} with bits={self.bits}. "
                "For example --gradual_share=0.5,0.75."
            )
        return tuple(shares)

    def resumed_as(self, there: "Recipe") -> "Recipe":
        """Returns this recipe with what it leaves to the machine as the run `there` was begun."""
        if self.mixed_precision != AUTO_PRECISION:
            return self
        return dataclasses.replace(self, mixed_precision=there.mixed_precision)

    def differences(self, other: "Recipe") -> dict[str, tuple[Any, Any]]:
        """Returns the settings that give another result: name to (this, other)."""
        return {
            name: (getattr(self, name), getattr(other, name))
            for name, setting in self.settings().items()
            if setting.metadata["stages"] and getattr(self, name) != getattr(other, name)
        }

    def stage_settings(self, stage: str) -> dict[str, Any]:
        """Returns the settings that the result of a stage depends on, besides the stages before it."""
        chosen = {
            name: getattr(self, name)
            for name, setting in self.settings().items()
            if stage in setting.metadata["stages"]
        }
        if stage in (TEACHER, STUDENT):
            chosen["pretrain_seed"] = self.seed_of(stage)
        # What has no say is taken at its default, so that the same training is known as the same.
        idle = [*(() if self.has_teacher else _SOFT), *(() if self.distils else _ANNEALED)]
        if self.soft_loss != "dkd":
            idle.append("dkd_beta")
        defaults = {name: self.settings()[name].default for name in idle if name in chosen}
        return {**chosen, **defaults}

    def distillation_settings(self) -> dict[str, Any]:
        """Returns what a training with a teacher depends on besides the teacher."""
        return {
            name: value
            for name, value in self.stage_settings(QUANTIZED).items()
            if self.settings()[name].metadata["group"] == "distillation" or name == "teacher_views"
        }

    def to_json(self) -> str:
        """Returns the recipe as JSON."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Recipe":
        """Reads what `to_json` wrote.

        Raises:
            ValueError: If it is not a JSON object of known settings.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(
                f"A recipe must be JSON. Received: {text[:40]!r} ({error}). "
                "Restore the file, or give another --run_dir."
            ) from error
        is_object = isinstance(values, dict)
        unknown = sorted(set(values) - set(cls.settings())) if is_object else values
        if unknown or not is_object:
            raise ValueError(
                f"A recipe must be a JSON object of known settings. Received: {unknown}. "
                "It may come from another version of tfqkd."
            )
        return cls(**values)

    def profiled_steps(self) -> tuple[int, int] | None:
        """Returns the first and last step of `profile`; None without.

        Raises:
            ValueError: If it is not FIRST,LAST with 1 ≤ FIRST ≤ LAST.
        """
        if not self.profile:
            return None
        match = re.fullmatch(r"([1-9][0-9]{0,8}),([1-9][0-9]{0,8})", self.profile)
        first, last = map(int, match.groups()) if match else (1, 0)
        if first > last:
            raise ValueError(
                "`profile` must be FIRST,LAST, two steps counted from 1. "
                f"Received: profile={self.profile!r}. For example: 20,30."
            )
        return first, last
