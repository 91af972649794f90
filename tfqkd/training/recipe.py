"""A `Recipe` says everything about a run; pure Python, so that flags are checked before TensorFlow loads."""

import dataclasses
import json
import math
import pathlib
import re
from collections.abc import Sequence
from typing import Any, Literal

from tfqkd.export.formats import parse_formats
from tfqkd.models.names import parse as parse_model_name

TEACHER, STUDENT, QUANTIZED, EXPORT = "teacher", "student", "quantized", "export"
STAGES = (TEACHER, STUDENT, QUANTIZED, EXPORT)
_TRAINED = (TEACHER, STUDENT, QUANTIZED)

NO_TEACHER = "none"
FLOAT_BITS = 32
MODEL_SUFFIXES = (".keras", ".h5")

_VIEWS = 16  # Of a teacher cache that is asked for without a number.

WEIGHT_QUANTIZERS = ("uniform", "twn", "ttq", "lsq", "dorefa")
TERNARY_QUANTIZERS = ("twn", "ttq")
ACTIVATION_QUANTIZERS = ("lsq", "pact")

SCHEDULES = ("constant", "gradual", "cosine", "exponential", "step")


def _setting(
    default: Any,
    group: str,
    help: str,
    stages: Sequence[str] = _TRAINED,
    choices: Sequence[str] = (),
) -> Any:
    """A field: `stages` names the ones whose result depends on it."""
    metadata = {"group": group, "help": help, "stages": tuple(stages), "choices": tuple(choices)}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a run is: data, models, the settings of every stage, and what is exported.

    Every field is a flag of `bin/train`; `Recipe.settings()` lists them with their help. A recipe is checked
    when it is made.

    Raises:
        ValueError: If a value breaks a rule; the error names the field.
    """

    dataset: str = _setting(
        "cifar10",
        "data",
        "Data set: digits (embedded), folder:PATH (PATH/train/CLASS/*.png and PATH/test/CLASS/*.png), or the "
        "name of a TFDS image classification set, such as cifar10 or cifar100.",
    )
    data_dir: str = _setting(
        "", "data", "Where TFDS data sets lie; TFDS's own default if empty.", stages=()
    )
    download: bool = _setting(
        False, "data", "Let TFDS download a data set that is not there.", stages=()
    )
    validation_split: float = _setting(
        0.0,
        "data",
        "Share of the training images, 0 to 0.5, held back and measured after every epoch. The test images "
        "are never used to choose anything.",
    )
    train_examples: int = _setting(
        0, "data", "Train on a fixed subset of this many images, drawn by class; 0 for all."
    )
    image_size: int = _setting(
        0, "data", "Resize images to this height and width in pixels; 0 keeps theirs."
    )
    crop_padding: int = _setting(
        4, "data", "Random crop after padding every side by this many pixels; 0 for none."
    )
    flip: bool = _setting(True, "data", "Mirror a random half of the training images.")

    student: str = _setting(
        "resnet20",
        "models",
        "Student: resnet20, resnet32, resnet56, wrn20xN (N such as 1.7), vgg7, vgg7xN, cnnN, or the path of "
        "a trained Keras model (.keras, .h5, SavedModel) that takes 0 to 255 pixels and returns logits.",
        stages=(STUDENT,),
    )
    teacher: str = _setting(
        "wrn20x2",
        "models",
        "Teacher: as for --student, several separated by commas (their logits are averaged), or none. A path "
        "is used as it is, untrained here: so can a run's student teach the next.",
        stages=(TEACHER,),
    )

    teacher_epochs: int = _setting(
        200, "float stages", "Epochs that the teacher trains.", stages=(TEACHER,)
    )
    student_epochs: int = _setting(
        200, "float stages", "Epochs that the float student trains.", stages=(STUDENT,)
    )
    learning_rate: float = _setting(
        0.1, "float stages", "First learning rate of the float stages.", stages=(TEACHER, STUDENT)
    )
    pretrain_seed: int = _setting(
        -1,
        "float stages",
        "Seed of teacher and float student; -1 for that of the run. Fix it to share them between seeds.",
        stages=(TEACHER, STUDENT),
    )

    bits: int = _setting(
        2,
        "quantized stage",
        "Width of a quantized weight, 2 (ternary) to 8; 32 trains the float student on for the same epochs, "
        "as a control.",
        stages=(QUANTIZED,),
    )
    quantizer: str = _setting(
        "uniform",
        "quantized stage",
        "Weight quantizer: uniform (L2-optimal step, the paper's), twn, ttq (both ternary), lsq (learned "
        "step) or dorefa.",
        stages=(QUANTIZED,),
        choices=WEIGHT_QUANTIZERS,
    )
    granularity: Literal["tensor", "channel"] = _setting(
        "tensor",
        "quantized stage",
        "One quantization step for each tensor or each output channel; channel for uniform and lsq only.",
        stages=(QUANTIZED,),
        choices=("tensor", "channel"),
    )
    step_update: Literal["once", "every_step"] = _setting(
        "once",
        "quantized stage",
        "Take uniform's L2-optimal step once from the float student, or anew at every training step.",
        stages=(QUANTIZED,),
        choices=("once", "every_step"),
    )
    activation_bits: int = _setting(
        FLOAT_BITS,
        "quantized stage",
        "Width of the activations that quantized layers read, 2 to 8; 32 for float.",
        stages=(QUANTIZED,),
    )
    activation_quantizer: str = _setting(
        "lsq",
        "quantized stage",
        "Activation quantizer: lsq (learned step) or pact (learned clipping value).",
        stages=(QUANTIZED,),
        choices=ACTIVATION_QUANTIZERS,
    )
    gradient_bits: int = _setting(
        FLOAT_BITS,
        "quantized stage",
        "Width to which dorefa rounds the gradients of its layers' outputs stochastically, 2 to 8; 32 for "
        "float.",
        stages=(QUANTIZED,),
    )
    layer_bits: tuple[str, ...] = _setting(
        (),
        "quantized stage",
        "Layers that differ, as REGEX=BITS, REGEX=BITS/ACTIVATION_BITS or REGEX=float, separated by commas; "
        "either BITS may be float; the first match counts. The first and the last layer are float unless "
        "named here.",
        stages=(QUANTIZED,),
    )
    gradual_bits: tuple[str, ...] = _setting(
        (),
        "quantized stage",
        "Widths that the weights have before --bits, falling, separated by commas, such as 8,4. All share "
        "the epochs evenly.",
        stages=(QUANTIZED,),
    )
    gradual_share: tuple[str, ...] = _setting(
        (),
        "quantized stage",
        "Shares of each layer's weights, the largest first, that are quantized before all are, rising within "
        "0 to 1, separated by commas, such as 0.5,0.75. All share the epochs evenly.",
        stages=(QUANTIZED,),
    )
    ema: float = _setting(
        0.0,
        "quantized stage",
        "Momentum of an exponential moving average over all trained weights, in [0, 1), which replaces them "
        "at the end; 0 for none. Best with --reestimate_batches.",
        stages=(QUANTIZED,),
    )
    reestimate_batches: int = _setting(
        0,
        "quantized stage",
        "Batches of training images on which the statistics of batch norm are measured anew after the "
        "training; 0 keeps the moving averages.",
        stages=(QUANTIZED,),
    )
    quantized_epochs: int = _setting(
        100, "quantized stage", "Epochs that the quantized student trains.", stages=(QUANTIZED,)
    )
    quantized_learning_rate: float = _setting(
        0.01, "quantized stage", "Its first learning rate.", stages=(QUANTIZED,)
    )

    temperature: float = _setting(
        2.0, "distillation", "T, divides the logits of the soft loss.", stages=(QUANTIZED,)
    )
    coefficient: float = _setting(
        1.0,
        "distillation",
        "λ, weight of the soft loss, 0 to 1; its first value when it is annealed. The hard loss weighs 1-λ.",
        stages=(QUANTIZED,),
    )
    schedule: str = _setting(
        "gradual",
        "distillation",
        "How λ changes: constant, gradual (the paper's: on a straight line), cosine, exponential, or step "
        "(at the learning rate's milestones, by its factor).",
        stages=(QUANTIZED,),
        choices=SCHEDULES,
    )
    coefficient_end: float = _setting(
        0.0,
        "distillation",
        "λ at the end of a gradual, cosine or exponential schedule.",
        stages=(QUANTIZED,),
    )
    schedule_on: Literal["epoch", "step"] = _setting(
        "epoch",
        "distillation",
        "Change λ once an epoch or at every step.",
        stages=(QUANTIZED,),
        choices=("epoch", "step"),
    )
    soft_loss: str = _setting(
        "cross_entropy",
        "distillation",
        "cross_entropy; kl, of the same gradient; or none: the control that keeps only (1-λ)·hard.",
        stages=(QUANTIZED,),
        choices=("cross_entropy", "kl", "none"),
    )
    scale_by_temperature_squared: bool = _setting(
        True,
        "distillation",
        "Multiply the soft loss by T², so that λ weighs the same at every temperature.",
        stages=(QUANTIZED,),
    )

    teacher_views: int = _setting(
        0,
        "teacher cache",
        "V: the quantized stage shows V fixed views of each image, for which the teacher is asked once and "
        "its logits are kept. 0 shows new views in every epoch to a live teacher; with --teacher_cache it "
        "becomes 16.",
        stages=(QUANTIZED,),
    )
    teacher_cache: str = _setting(
        "",
        "teacher cache",
        "Where the logits are kept; runs with the same teacher, images and augmentation share them. Beside "
        "the run's products if empty.",
        stages=(),
    )
    teacher_cache_limit_gb: float = _setting(
        10.0, "teacher cache", "The most that the V views may take, in 2^30 bytes.", stages=()
    )

    batch_size: int = _setting(128, "optimizer", "Images in a step, over all devices together.")
    momentum: float = _setting(0.9, "optimizer", "Nesterov momentum of SGD.")
    weight_decay: float = _setting(
        1e-3,
        "optimizer",
        "Decoupled weight decay of kernels: each step subtracts this times the learning rate times the "
        "weight. Biases and batch norm have none. 1e-4 of L2 loss with momentum 0.9 is about 1e-3 here.",
    )
    learning_rate_schedule: str = _setting(
        "step", "optimizer", "How the learning rate falls.", choices=("step", "cosine", "constant")
    )
    milestones: tuple[float, ...] = _setting(
        (0.5, 0.75), "optimizer", "Where it steps down, as shares of a stage's epochs."
    )
    learning_rate_factor: float = _setting(
        0.1, "optimizer", "What each milestone multiplies it by."
    )
    warmup_epochs: float = _setting(
        0.0, "optimizer", "Epochs over which the learning rate first rises from 0."
    )
    label_smoothing: float = _setting(0.0, "optimizer", "Of the hard loss, 0 to below 1.")

    seed: int = _setting(0, "run", "Of weights, data order and augmentation.", stages=(QUANTIZED,))
    formats: tuple[str, ...] = _setting(
        ("saved_model", "litert-float32", "litert-int8", "litert-int2"),
        "run",
        "Formats to export the student in, separated by commas; none if empty.",
        stages=(EXPORT,),
    )
    mixed_precision: str = _setting(
        "float32",
        "run",
        "Compute in float32, or in half precision with float32 variables.",
        choices=("float32", "mixed_float16", "mixed_bfloat16"),
    )
    strategy: str = _setting(
        "auto",
        "run",
        "auto: all GPUs if there are several, else one device. mirrored: all GPUs, or all logical CPUs. "
        "multi_worker: all devices of the processes that TF_CONFIG names.",
        stages=(),
        choices=("auto", "one_device", "mirrored", "multi_worker"),
    )
    synchronized_batch_norm: bool = _setting(
        False, "run", "Take the statistics of batch norm over all devices' parts of a batch."
    )
    jit_compile: bool = _setting(False, "run", "Compile the training step with XLA.", stages=())
    steps_per_execution: int = _setting(
        1, "run", "Training steps in one call of the compiled function.", stages=()
    )
    profile: str = _setting(
        "",
        "run",
        "FIRST,LAST: write a TensorBoard profile of these steps of every stage, counted from 1 (calls, with "
        "steps_per_execution).",
        stages=(),
    )
    deterministic: bool = _setting(
        False,
        "run",
        "Use only operations that always give the same bits; a run that was interrupted then ends in the "
        "very weights and files of one that was not.",
        stages=(),
    )
    checkpoint_every: str = _setting(
        "10m",
        "run",
        "Besides after every epoch, write a checkpoint every so many minutes (10m) or steps (500); only "
        "after every epoch if empty.",
        stages=(),
    )
    checkpoints_kept: int = _setting(
        3, "run", "How many of the last checkpoints of a stage are kept.", stages=()
    )

    def __post_init__(self) -> None:
        for name, setting in self.settings().items():
            value = getattr(self, name)
            object.__setattr__(self, name, _typed(name, value, setting.default))
            choices = setting.metadata["choices"]
            if choices and value not in choices:
                raise ValueError(
                    f"`{name}` must be one of {', '.join(choices)}. Received: {name}={value!r}."
                )
        if self.teacher_cache and not self.teacher_views:
            object.__setattr__(self, "teacher_views", _VIEWS)
        self._check_ranges()
        for name in ("student", "teacher"):
            _check_model(name, getattr(self, name))
        self.bits_by_layer()
        self.profiled_steps()
        self.gradual_widths()
        self.gradual_shares()
        if self.formats:
            parse_formats(",".join(self.formats))

    @classmethod
    def settings(cls) -> dict[str, dataclasses.Field]:
        """Returns the fields by name; their metadata hold group, help, choices and stages."""
        return {field.name: field for field in dataclasses.fields(cls)}

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
    def distils(self) -> bool:
        """Whether the quantized stage weighs its losses at all: a teacher, or the control without one."""
        return self.has_teacher or self.soft_loss == "none"

    @property
    def title(self) -> str:
        """What the last stage trains, for tables and progress: "ternary student, gradual coefficient"."""
        kind = {2: "ternary", FLOAT_BITS: "float"}.get(self.bits, f"{self.bits}-bit")
        if self.bits == 2 and self.quantizer in ("lsq", "dorefa"):
            kind = "2-bit"  # They have four levels.
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
            bits = [_bits(width) for width in widths.split("/")]
            if not pattern or not 1 <= len(bits) <= 2 or 0 in bits or not _is_regex(pattern):
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
        widths = [_bits(width) or 0 for width in self.gradual_bits]
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
        return chosen

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
        except json.JSONDecodeError as error:
            raise ValueError(
                f"A recipe must be JSON. Received: {text[:40]!r} ({error}). "
                "Restore the file, or give another --run_dir."
            ) from error
        unknown = sorted(set(values) - set(cls.settings())) if isinstance(values, dict) else values
        if unknown:
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

    def _check_ranges(self) -> None:
        rules = {
            "0 to 0.5": (("validation_split",), lambda v: 0 <= v <= 0.5),
            "0 or more": (
                (
                    "train_examples",
                    "image_size",
                    "crop_padding",
                    "teacher_epochs",
                    "student_epochs",
                    "quantized_epochs",
                    "reestimate_batches",
                    "weight_decay",
                    "warmup_epochs",
                    "teacher_views",
                ),
                lambda v: v >= 0,
            ),
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
                value = getattr(self, name)
                if not holds(value):
                    raise ValueError(f"`{name}` must be {rule}. Received: {name}={value}.")
        self._check_quantizer()
        if self.schedule == "exponential" and not (self.coefficient and self.coefficient_end):
            raise ValueError(
                "An exponential schedule must start and end above zero. Received: "
                f"coefficient={self.coefficient}, coefficient_end={self.coefficient_end}. "
                "Set --coefficient_end, e.g. to 0.01."
            )

    def _check_quantizer(self) -> None:
        if self.quantizer in TERNARY_QUANTIZERS and self.bits not in (2, FLOAT_BITS):
            raise ValueError(
                f"`bits` must be 2 for the ternary quantizers {', '.join(TERNARY_QUANTIZERS)}. "
                f"Received: bits={self.bits}, quantizer={self.quantizer}. Choose uniform, lsq or dorefa."
            )
        if self.granularity == "channel" and self.quantizer not in ("uniform", "lsq"):
            raise ValueError(
                "`granularity` can be channel for the quantizers uniform and lsq only. "
                f"Received: quantizer={self.quantizer}. Leave it at tensor."
            )
        if self.step_update != "once" and self.quantizer != "uniform":
            raise ValueError(
                "`step_update` belongs to the quantizer uniform: others learn their scales, or follow the "
                f"weights always. Received: step_update={self.step_update}, quantizer={self.quantizer}. "
                "Leave it at once."
            )
        if self.gradient_bits != FLOAT_BITS and self.quantizer != "dorefa":
            raise ValueError(
                "`gradient_bits` belongs to the quantizer dorefa. "
                f"Received: gradient_bits={self.gradient_bits}, quantizer={self.quantizer}. "
                "Leave it at 32, or choose dorefa."
            )
        if self.bits == FLOAT_BITS and self.activation_bits != FLOAT_BITS:
            raise ValueError(
                "`activation_bits` must be 32 in the float control, bits=32. "
                f"Received: activation_bits={self.activation_bits}. Give the weights 8 bits instead."
            )


def _bits(width: str) -> int | None:
    """The number in a rule of `layer_bits`, None for float; 0 if it is no width."""
    if width == "float":
        return None
    return int(width) if width in map(str, range(2, 9)) else 0


def _typed(name: str, value: Any, default: Any) -> Any:
    """`value` as the type of the field's default; JSON and flags bring lists and integers."""
    if isinstance(default, tuple):
        convert = float if default and isinstance(default[0], float) else str
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"`{name}` must be a list. Received: {name}={value!r}.")
        return tuple(_typed(name, item, convert()) for item in value)
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if isinstance(default, float) and number:
        value = float(value)
        if not math.isfinite(value):
            raise ValueError(f"`{name}` must be finite. Received: {name}={value}.")
    if type(value) is not type(default):
        raise ValueError(
            f"`{name}` must be a {type(default).__name__}. Received: {name}={value!r}."
        )
    return value


def is_model_path(name: str) -> bool:
    """Whether a student's or teacher's name is the path of a saved model."""
    return name.endswith(MODEL_SUFFIXES) or "/" in name


def _check_model(field: str, name: str) -> None:
    if field == "teacher" and name == NO_TEACHER:
        return
    for part in name.split(",") if field == "teacher" else [name]:
        if not is_model_path(part):
            try:
                parse_model_name(part)
            except ValueError as error:
                raise ValueError(f"`{field}`: {error}") from error
        elif not pathlib.Path(part).exists():
            raise ValueError(
                f"`{field}` must be a known name or the path of a saved Keras model. "
                f"Received: {field}={part!r}, which does not exist."
            )


def _is_regex(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True
