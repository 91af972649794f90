"""The rules of a recipe: ranges of its settings, and what fits together."""

import pathlib
import re

from tfqkd.models.names import Architecture
from tfqkd.models.names import parse as parse_model_name
from tfqkd.training.settings import FLOAT_BITS, NO_TEACHER, TERNARY_QUANTIZERS, Settings

MODEL_SUFFIXES = (".keras", ".h5")


def check_ranges(settings: Settings) -> None:
    """Raises ValueError if a setting is out of its range, or a schedule out of its domain."""
    rules = {
        "0 to 0.5": (("validation_split",), lambda v: 0 <= v <= 0.5),
        "0 or more": (
            (
                "train_examples",
                "crop_padding",
                "teacher_epochs",
                "student_epochs",
                "quantized_epochs",
                "weight_decay",
                "warmup_epochs",
                "soft_weight",
                "dkd_beta",
                "teacher_views",
            ),
            lambda v: v >= 0,
        ),
        "0 or more, or HEIGHTxWIDTH": (("image_size",), lambda v: isinstance(v, str) or v >= 0),
        "1 or more": (
            ("batch_size", "steps_per_execution", "checkpoints_kept"),
            lambda v: v >= 1,
        ),
        "minutes such as 10m, steps such as 500, or empty": (
            ("checkpoint_every",),
            lambda v: re.fullmatch(r"([1-9][0-9]{0,8}m?)?", v),
        ),
        "above 0": (
            (
                "learning_rate",
                "quantized_learning_rate",
                "temperature",
                "learning_rate_factor",
                "teacher_cache_limit_gb",
            ),
            lambda v: v > 0,
        ),
        "in [0, 1]": (("coefficient", "coefficient_end"), lambda v: 0 <= v <= 1),
        "in [0, 1)": (("momentum", "label_smoothing", "ema"), lambda v: 0 <= v < 1),
        "0 to 2147483647": (("seed",), lambda v: 0 <= v < 2**31),
        "-1 to 2147483647": (("pretrain_seed",), lambda v: -1 <= v < 2**31),
        "2 to 8, or 32 for float": (
            ("bits", "activation_bits", "gradient_bits"),
            lambda v: 2 <= v <= 8 or v == FLOAT_BITS,
        ),
        "rising shares of the epochs, each above 0 and below 1": (
            ("milestones",),
            lambda v: list(v) == sorted(set(v)) and all(0 < m < 1 for m in v),
        ),
    }
    for rule, (names, holds) in rules.items():
        for name in names:
            value = getattr(settings, name)
            if not holds(value):
                raise ValueError(f"`{name}` must be {rule}. Received: {name}={value}.")
    if settings.schedule == "exponential" and not (
        settings.coefficient and settings.coefficient_end
    ):
        raise ValueError(
            "An exponential schedule must start and end above zero. Received: "
            f"coefficient={settings.coefficient}, coefficient_end={settings.coefficient_end}. "
            "Set --coefficient_end, e.g. to 0.01."
        )


def check_schedule(settings: Settings) -> None:
    """Raises ValueError if a coefficient that steps at the milestones would leave [0, 1]."""
    highest = settings.coefficient
    for _ in settings.milestones:
        highest = max(highest, highest * settings.learning_rate_factor)
    if settings.schedule == "step" and highest > 1:
        raise ValueError(
            "`coefficient` must stay in [0, 1]: a step schedule multiplies it by `learning_rate_factor` at "
            f"each of the `milestones`. Received: coefficient={settings.coefficient}, "
            f"learning_rate_factor={settings.learning_rate_factor}, {len(settings.milestones)} milestones: "
            f"up to {highest:g}. Lower the coefficient, or choose another --schedule."
        )


def check_quantizer(settings: Settings) -> None:
    """Raises ValueError if the quantizer cannot do what other settings ask of it."""
    if settings.quantizer in TERNARY_QUANTIZERS and settings.bits not in (2, FLOAT_BITS):
        raise ValueError(
            f"`bits` must be 2 for the ternary quantizers {', '.join(TERNARY_QUANTIZERS)}. "
            f"Received: bits={settings.bits}, quantizer={settings.quantizer}. Choose uniform, lsq or dorefa."
        )
    if settings.granularity == "channel" and settings.quantizer not in ("uniform", "lsq"):
        raise ValueError(
            "`granularity` can be channel for the quantizers uniform and lsq only. "
            f"Received: quantizer={settings.quantizer}. Leave it at tensor."
        )
    if settings.step_update != "once" and settings.quantizer != "uniform":
        raise ValueError(
            "`step_update` belongs to the quantizer uniform: others learn their scales, or follow the "
            f"weights always. Received: step_update={settings.step_update}, quantizer={settings.quantizer}. "
            "Leave it at once."
        )
    if settings.gradient_bits != FLOAT_BITS and settings.quantizer != "dorefa":
        raise ValueError(
            "`gradient_bits` belongs to the quantizer dorefa. "
            f"Received: gradient_bits={settings.gradient_bits}, quantizer={settings.quantizer}. "
            "Leave it at 32, or choose dorefa."
        )
    before_the_last = max(len(settings.gradual_bits), len(settings.gradual_share))
    if before_the_last and settings.quantized_epochs <= before_the_last:
        raise ValueError(
            "`quantized_epochs` must be more than the widths in `gradual_bits` and the shares in "
            "`gradual_share`, so that the last epoch has all weights at --bits. "
            f"Received: quantized_epochs={settings.quantized_epochs}, "
            f"gradual_bits={','.join(settings.gradual_bits)}, "
            f"gradual_share={','.join(settings.gradual_share)}. Train longer, or take fewer."
        )
    if settings.bits == FLOAT_BITS and settings.activation_bits != FLOAT_BITS:
        raise ValueError(
            "`activation_bits` must be 32 in the float control, bits=32. "
            f"Received: activation_bits={settings.activation_bits}. Give the weights 8 bits instead."
        )


def check_formats(settings: Settings) -> None:
    """Raises ValueError if the student cannot be exported as other settings make it."""
    if "keras" in settings.formats and settings.activation_bits != FLOAT_BITS:
        raise ValueError(
            "`formats` may hold keras only where activations are float: the file must load without tfqkd. "
            f"Received: formats={','.join(settings.formats)}, activation_bits={settings.activation_bits}. "
            "Export to saved_model."
        )


def check_float_student(settings: Settings) -> None:
    """Raises ValueError if a student that is not trained here is to be taught."""
    if settings.distil_float and is_model_path(settings.student):
        raise ValueError(
            "`distil_float` teaches a float student that the run trains. "
            f"Received: distil_float with the saved student={settings.student!r}, which stays as it is. "
            "Leave --distil_float out, or name an architecture."
        )


def check_model(field: str, name: str) -> None:
    """Raises ValueError if a student or teacher is neither a known name nor a path that exists.

    Args:
        field: "student" or "teacher"; a teacher may be several, or none.
        name: Its value.
    """
    if field == "teacher" and name == NO_TEACHER:
        return
    parts = name.split(",") if field == "teacher" else [name]
    for part in parts:
        if not is_model_path(part):
            try:
                parse_model_name(part)
            except ValueError as error:
                if _exists(part):
                    raise ValueError(
                        f"`{field}` must be a known name or the path of a saved Keras model. "
                        f"Received: {field}={part!r}, no known name. The file or folder is ./{part}."
                    ) from error
                raise ValueError(f"`{field}`: {error}") from error
        elif not _exists(part):
            raise ValueError(
                f"`{field}` must be a known name or the path of a saved Keras model. "
                f"Received: {field}={part!r}, which does not exist."
            )
    if len({_which(part) for part in parts}) < len(parts):
        raise ValueError(
            "`teacher` must name different models: the same one twice, of the same seed, is one teacher. "
            f"Received: teacher={name!r}. Name each once; for members of other seeds, give the saved models "
            "of runs with other seeds."
        )


def _exists(path: str) -> bool:
    try:
        return pathlib.Path(path).exists()
    except OSError:  # A name may be too long for any file.
        return False


def _which(name: str) -> Architecture | pathlib.Path:
    return pathlib.Path(name).resolve() if is_model_path(name) else parse_model_name(name)


def is_model_path(name: str) -> bool:
    """Whether a student's or teacher's name is the path of a saved model."""
    return name.endswith(MODEL_SUFFIXES) or "/" in name


def bit_width(width: str) -> int | None:
    """Returns the number of a width such as "4", None for "float", and 0 for anything else."""
    if width == "float":
        return None
    return int(width) if width in map(str, range(2, 9)) else 0


def is_regex(pattern: str) -> bool:
    """Whether `pattern` is a regular expression."""
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        return False
    return True
