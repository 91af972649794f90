"""The settings of a run: every field of a `Recipe`, with its help, its default and what depends on it."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal

from tfqkd.data.sizing import plain_size

TEACHER, STUDENT, QUANTIZED, EXPORT = "teacher", "student", "quantized", "export"
STAGES = (TEACHER, STUDENT, QUANTIZED, EXPORT)
_TRAINED = (TEACHER, STUDENT, QUANTIZED)

NO_TEACHER = "none"
FLOAT_BITS = 32
AUTO_PRECISION = "auto"
MODEL_SUFFIXES = (".keras", ".h5")

WEIGHT_QUANTIZERS = ("uniform", "twn", "ttq", "lsq", "dorefa")
TERNARY_QUANTIZERS = ("twn", "ttq")
ACTIVATION_QUANTIZERS = ("lsq", "pact")

SCHEDULES = ("constant", "gradual", "cosine", "exponential", "step")


def setting(
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
class Settings:
    """The fields of a `Recipe`; a value must have the type of its field, and be one of its choices.

    Raises:
        ValueError: If it is not so; the error names the field.
    """

    dataset: str = setting(
        "cifar10",
        "data",
        "Data set: digits (embedded), folder:PATH (PATH/train/CLASS/*.png and PATH/test/CLASS/*.png, or "
        "PATH/CLASS/*.png), arrays:FILE.npz, or the name of a TFDS image classification set, such as "
        "cifar10 or cifar100.",
    )
    data_dir: str = setting(
        "", "data", "Where TFDS data sets lie; TFDS's own default if empty.", stages=()
    )
    download: bool = setting(
        False, "data", "Let TFDS download a data set that is not there.", stages=()
    )
    validation_split: float = setting(
        0.0,
        "data",
        "Share of the training images, 0 to 0.5, held back and measured after every epoch. The test images "
        "are never used to choose anything.",
    )
    train_examples: int = setting(
        0, "data", "Train on a fixed subset of this many images, drawn by class; 0 for all."
    )
    image_size: int | str = setting(
        0,
        "data",
        "Resize images to this height and width in pixels, or to HEIGHTxWIDTH such as 24x32; 0 keeps theirs.",
    )
    crop_padding: int = setting(
        4, "data", "Random crop after padding every side by this many pixels; 0 for none."
    )
    flip: bool = setting(True, "data", "Mirror a random half of the training images.")

    student: str = setting(
        "resnet20",
        "models",
        "Student: resnet20, resnet32, resnet56, wrn20xN (N such as 1.7), vgg7, vgg7xN, cnnN, resnet8_mlperf, "
        "mobilenetv2, mobilenetv3_small, mobilenetv3_large, efficientnet_lite0 to 4 (these with _N for other "
        "widths, as in mobilenetv2_0.5), or the path of a trained Keras model (.keras, .h5, SavedModel) that "
        "takes 0 to 255 pixels and returns logits, in the precision of --mixed_precision.",
        stages=(STUDENT,),
    )
    teacher: str = setting(
        "wrn20x2",
        "models",
        "Teacher: as for --student, several separated by commas (their logits are averaged), or none. A path "
        "is used as it is, untrained here and in the precision it was saved in: so can a run's student teach "
        "the next.",
        stages=(TEACHER,),
    )

    teacher_epochs: int = setting(
        200, "float stages", "Epochs that the teacher trains.", stages=(TEACHER,)
    )
    student_epochs: int = setting(
        200, "float stages", "Epochs that the float student trains.", stages=(STUDENT,)
    )
    learning_rate: float = setting(
        0.1, "float stages", "First learning rate of the float stages.", stages=(TEACHER, STUDENT)
    )
    pretrain_seed: int = setting(
        -1,
        "float stages",
        "Seed of teacher and float student; -1 for that of the run. Fix it to share them between seeds.",
        stages=(TEACHER, STUDENT),
    )

    bits: int = setting(
        2,
        "quantized stage",
        "Width of a quantized weight, 2 (ternary; four levels with lsq and dorefa) to 8; 32 trains the float "
        "student on for the same epochs, as a control.",
        stages=(QUANTIZED,),
    )
    quantizer: str = setting(
        "uniform",
        "quantized stage",
        "Weight quantizer: uniform (L2-optimal step, the paper's), twn, ttq (both ternary), lsq (learned "
        "step) or dorefa.",
        stages=(QUANTIZED,),
        choices=WEIGHT_QUANTIZERS,
    )
    granularity: Literal["tensor", "channel"] = setting(
        "tensor",
        "quantized stage",
        "One quantization step for each tensor or each output channel; channel for uniform and lsq only.",
        stages=(QUANTIZED,),
        choices=("tensor", "channel"),
    )
    step_update: Literal["once", "every_step"] = setting(
        "once",
        "quantized stage",
        "Take uniform's L2-optimal step once from the float student, or anew at every training step.",
        stages=(QUANTIZED,),
        choices=("once", "every_step"),
    )
    activation_bits: int = setting(
        FLOAT_BITS,
        "quantized stage",
        "Width of the activations that quantized layers read, 2 to 8; 32 for float.",
        stages=(QUANTIZED,),
    )
    activation_quantizer: str = setting(
        "lsq",
        "quantized stage",
        "Activation quantizer: lsq (learned step) or pact (learned clipping value).",
        stages=(QUANTIZED,),
        choices=ACTIVATION_QUANTIZERS,
    )
    gradient_bits: int = setting(
        FLOAT_BITS,
        "quantized stage",
        "Width to which dorefa rounds the gradients of its layers' outputs stochastically, 2 to 8; 32 for "
        "float.",
        stages=(QUANTIZED,),
    )
    layer_bits: tuple[str, ...] = setting(
        (),
        "quantized stage",
        "Layers that differ, as REGEX=BITS, REGEX=BITS/ACTIVATION_BITS or REGEX=float, separated by commas; "
        "either BITS may be float; the first match counts. The first and the last layer are float unless "
        "named here.",
        stages=(QUANTIZED,),
    )
    gradual_bits: tuple[str, ...] = setting(
        (),
        "quantized stage",
        "Widths that the weights have before --bits, falling, separated by commas, such as 8,4. All share "
        "the epochs evenly.",
        stages=(QUANTIZED,),
    )
    gradual_share: tuple[str, ...] = setting(
        (),
        "quantized stage",
        "Shares of each layer's weights, the largest first, that are quantized before all are, rising within "
        "0 to 1, separated by commas, such as 0.5,0.75. All share the epochs evenly.",
        stages=(QUANTIZED,),
    )
    ema: float = setting(
        0.0,
        "quantized stage",
        "Momentum of an exponential moving average over all trained weights, in [0, 1), which replaces them "
        "at the end; 0 for none. --batch_norm=moving does not fit the averaged weights.",
        stages=(QUANTIZED,),
    )
    quantized_epochs: int = setting(
        100, "quantized stage", "Epochs that the quantized student trains.", stages=(QUANTIZED,)
    )
    quantized_learning_rate: float = setting(
        0.01, "quantized stage", "Its first learning rate.", stages=(QUANTIZED,)
    )

    temperature: float = setting(
        2.0, "distillation", "T, divides the logits of the soft loss.", stages=(QUANTIZED,)
    )
    coefficient: float = setting(
        1.0,
        "distillation",
        "λ, weight of the soft loss, 0 to 1; its first value when it is annealed. The hard loss weighs 1-λ.",
        stages=(QUANTIZED,),
    )
    schedule: str = setting(
        "gradual",
        "distillation",
        "How λ changes: constant, gradual (the paper's: on a straight line), cosine, exponential, or step "
        "(at the learning rate's milestones, by its factor, also inside an epoch).",
        stages=(QUANTIZED,),
        choices=SCHEDULES,
    )
    coefficient_end: float = setting(
        0.0,
        "distillation",
        "λ at the end of a gradual, cosine or exponential schedule.",
        stages=(QUANTIZED,),
    )
    schedule_on: Literal["epoch", "step"] = setting(
        "epoch",
        "distillation",
        "Change λ once an epoch or at every step; a step schedule falls at its milestones in either case.",
        stages=(QUANTIZED,),
        choices=("epoch", "step"),
    )
    soft_loss: str = setting(
        "cross_entropy",
        "distillation",
        "cross_entropy; kl, of the same gradient; standardized, the kl of logits without their mean and "
        "deviation (arXiv 2403.01427); dkd, decoupled (arXiv 2203.08679); dist, correlations within "
        "examples and within classes (arXiv 2205.10536); cosine, the angle between the probabilities (after "
        "the abstract of arXiv 2009.14502); or none: the control that keeps only (1-λ)·hard.",
        stages=(QUANTIZED,),
        choices=("cross_entropy", "kl", "standardized", "dkd", "dist", "cosine", "none"),
    )
    soft_weight: float = setting(
        1.0,
        "distillation",
        "Multiplies the soft loss besides λ; about 10 for standardized, whose gradient is small.",
        stages=(QUANTIZED,),
    )
    dkd_beta: float = setting(
        8.0,
        "distillation",
        "β of dkd: what the classes beside the label weigh.",
        stages=(QUANTIZED,),
    )
    scale_by_temperature_squared: bool = setting(
        True,
        "distillation",
        "Multiply the soft loss by T², so that λ weighs the same at every temperature.",
        stages=(QUANTIZED,),
    )

    distil_float: bool = setting(
        False,
        "distillation",
        "Teach the float student too, with the same settings, so that quantization starts from a better one.",
        stages=(STUDENT,),
    )

    teacher_views: int = setting(
        0,
        "teacher cache",
        "V: the quantized stage shows V fixed views of each image, for which the teacher is asked once and "
        "its logits are kept. 0 shows new views in every epoch to a live teacher; with --teacher_cache it "
        "becomes 16.",
        stages=(QUANTIZED,),
    )
    teacher_cache: str = setting(
        "",
        "teacher cache",
        "Where the logits are kept; runs with the same teacher, images and augmentation share them. Beside "
        "the run's products if empty.",
        stages=(),
    )
    teacher_cache_limit_gb: float = setting(
        10.0, "teacher cache", "The most that the V views may take, in 2^30 bytes.", stages=()
    )

    batch_size: int = setting(128, "optimizer", "Images in a step, over all devices together.")
    momentum: float = setting(0.9, "optimizer", "Nesterov momentum of SGD.")
    weight_decay: float = setting(
        1e-3,
        "optimizer",
        "Decoupled weight decay of kernels: each step subtracts this times the learning rate times the "
        "weight. Biases and batch norm have none. 1e-4 of L2 loss with momentum 0.9 is about 1e-3 here.",
    )
    learning_rate_schedule: str = setting(
        "step", "optimizer", "How the learning rate falls.", choices=("step", "cosine", "constant")
    )
    milestones: tuple[float, ...] = setting(
        (0.5, 0.75), "optimizer", "Where it steps down, as shares of a stage's epochs."
    )
    learning_rate_factor: float = setting(0.1, "optimizer", "What each milestone multiplies it by.")
    warmup_epochs: float = setting(
        0.0, "optimizer", "Epochs over which the learning rate first rises from 0."
    )
    batch_norm: Literal["augmented", "plain", "moving"] = setting(
        "augmented",
        "optimizer",
        "Statistics of batch norm in the model that a stage keeps: measured anew on augmented "
        "training images, or on plain ones; or the moving averages of the training.",
        choices=("augmented", "plain", "moving"),
    )
    label_smoothing: float = setting(0.0, "optimizer", "Of the hard loss, 0 to below 1.")

    seed: int = setting(0, "run", "Of weights, data order and augmentation.", stages=(QUANTIZED,))
    formats: tuple[str, ...] = setting(
        ("saved_model", "litert-float32", "litert-int8", "litert-int2"),
        "run",
        "Formats to export the student in, separated by commas; none if empty.",
        stages=(EXPORT,),
    )
    mixed_precision: str = setting(
        "float32",
        "run",
        "Compute in float32, or in half precision with float32 variables. auto takes mixed_bfloat16 where "
        "the GPUs (without any, the processor: AMX, AVX512-BF16) compute in it, else float32; a run goes on "
        "as it began.",
        choices=(AUTO_PRECISION, "float32", "mixed_float16", "mixed_bfloat16"),
    )
    strategy: str = setting(
        "auto",
        "run",
        "auto: all GPUs if there are several, one GPU, or the CPU. mirrored: all GPUs, or all logical CPUs. "
        "multi_worker: all devices of the processes that TF_CONFIG names. A run goes on with as many devices "
        "as it was begun with, unless --synchronized_batch_norm.",
        stages=(),
        choices=("auto", "one_device", "mirrored", "multi_worker"),
    )
    synchronized_batch_norm: bool = setting(
        False, "run", "Take the statistics of batch norm over all devices' parts of a batch."
    )
    jit_compile: bool = setting(
        False,
        "run",
        "Compile the training step with XLA; on several devices only if they are GPUs.",
        stages=(),
    )
    steps_per_execution: int = setting(
        1, "run", "Training steps in one call of the compiled function.", stages=()
    )
    profile: str = setting(
        "",
        "run",
        "FIRST,LAST: write a TensorBoard profile of these steps of every stage, counted from 1 (calls, with "
        "steps_per_execution).",
        stages=(),
    )
    deterministic: bool = setting(
        False,
        "run",
        "Use only operations that always give the same bits; a run that was interrupted then ends in the "
        "very weights and files of one that was not.",
        stages=(),
    )
    checkpoint_every: str = setting(
        "10m",
        "run",
        "Besides after every epoch, write a checkpoint every so many minutes (10m) or steps (500); only "
        "after every epoch if empty.",
        stages=(),
    )
    checkpoints_kept: int = setting(
        3,
        "run",
        "How many of the last checkpoints of a stage are kept until it is finished.",
        stages=(),
    )

    def __post_init__(self) -> None:
        for name, field in self.settings().items():
            value = getattr(self, name)
            if name == "image_size" and isinstance(value, str):
                value = plain_size(value)
            if not (name == "image_size" and isinstance(value, str)):
                value = _typed(name, value, field.default)
            object.__setattr__(self, name, value)
            choices = field.metadata["choices"]
            if choices and value not in choices:
                raise ValueError(
                    f"`{name}` must be one of {', '.join(choices)}. Received: {name}={value!r}."
                )

    @classmethod
    def settings(cls) -> dict[str, dataclasses.Field]:
        """Returns the fields by name; their metadata hold group, help, choices and stages."""
        return {field.name: field for field in dataclasses.fields(cls)}


def _typed(name: str, value: Any, default: Any) -> Any:
    """`value` as the type of the field's default; JSON and flags bring lists and integers."""
    if isinstance(default, tuple):
        convert = float if default and isinstance(default[0], float) else str
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"`{name}` must be a list. Received: {name}={value!r}.")
        return tuple(_typed(name, item, convert()) for item in value)
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if isinstance(default, float) and number:
        try:
            value = float(value)
        except OverflowError:  # An integer of hundreds of digits.
            value = math.inf
        if not math.isfinite(value):
            raise ValueError(f"`{name}` must be finite. Received: {name}={value}.")
    if type(value) is not type(default):
        raise ValueError(
            f"`{name}` must be a {type(default).__name__}. Received: {name}={value!r}."
        )
    return value
