"""What fits together: rules over several settings of a recipe."""

from typing import TYPE_CHECKING

from tfqkd.export.format_options import with_arena
from tfqkd.export.formats import parse_formats
from tfqkd.recipe.layer_bits import bits_by_layer
from tfqkd.recipe.models import check_model, check_weights, is_saved, saved_model
from tfqkd.recipe.quantize import TERNARY_QUANTIZERS, Quantize
from tfqkd.recipe.setting import FLOAT_BITS
from tfqkd.recipe.training import Training
from tfqkd.recipe.values import to_text

if TYPE_CHECKING:
    from tfqkd.recipe.recipe import Recipe


def check(recipe: "Recipe") -> None:
    """Raises ValueError if a recipe contradicts itself, or names a model that is not there."""
    _check_ends(recipe)
    if recipe.distils:
        _check_steps(recipe, recipe.training_of("quantized"))
    if recipe.teaches_float:
        _check_steps(recipe, recipe.training_of("student"))
    _check_quantizer(recipe.quantize)
    if "gradual" in recipe.quantized.methods:
        _check_gradual(recipe)
    _check_float_student(recipe)
    _check_progressive(recipe)
    for role in ("student", "teacher"):
        group = getattr(recipe, role)
        check_model(role, group.network)
        check_weights(role, group.network, group.weights)
    bits_by_layer(recipe.quantize)
    recipe.run.profiled_steps()
    _check_keras(recipe)
    _check_formats(recipe)
    _check_views(recipe)
    _check_patience(recipe)


def _check_ends(recipe: "Recipe") -> None:
    distil = recipe.distil
    ends = distil.coefficient, distil.coefficient_end
    if distil.schedule == "exponential" and not all(ends):
        raise ValueError(
            "An exponential schedule must start and end above zero. Received: "
            f"coefficient={ends[0]}, distil.coefficient_end={ends[1]}. "
            "Set --distil.coefficient_end, e.g. to 0.01."
        )


def _check_steps(recipe: "Recipe", training: Training) -> None:
    start = highest = recipe.distil.coefficient
    for _ in training.milestones:
        highest = max(highest, highest * training.factor)
    if recipe.distil.schedule == "step" and highest > 1:
        raise ValueError(
            "`coefficient` must stay in [0, 1]: a step schedule multiplies it by `training.factor` at "
            f"each of the `training.milestones`. Received: coefficient={start}, "
            f"training.factor={training.factor}, {len(training.milestones)} milestones: "
            f"up to {highest:g}. Lower the coefficient, or choose another --schedule."
        )


def _check_quantizer(quantize: Quantize) -> None:
    bits, quantizer = quantize.bits, quantize.quantizer
    if quantizer in TERNARY_QUANTIZERS and bits not in (2, FLOAT_BITS):
        raise ValueError(
            f"`bits` must be 2 for the ternary quantizers {', '.join(TERNARY_QUANTIZERS)}. "
            f"Received: bits={bits}, quantizer={quantizer}. Choose uniform, lsq or dorefa."
        )
    if quantize.granularity == "channel" and quantizer not in ("uniform", "lsq"):
        raise ValueError(
            "`quantize.granularity` can be channel for the quantizers uniform and lsq only. "
            f"Received: quantizer={quantizer}. Leave it at tensor."
        )
    if quantize.step_update != "once" and quantizer != "uniform":
        raise ValueError(
            "`quantize.step_update` belongs to the quantizer uniform: the others learn their scales, or "
            f"always follow the weights. Received: quantize.step_update={quantize.step_update}, "
            f"quantizer={quantizer}. Leave it at once."
        )
    if quantize.gradient_bits != FLOAT_BITS and quantizer != "dorefa":
        raise ValueError(
            "`quantize.gradient_bits` belongs to the quantizer dorefa. Received: "
            f"quantize.gradient_bits={quantize.gradient_bits}, quantizer={quantizer}. "
            "Leave it at 32, or choose dorefa."
        )
    if quantize.deploy and (bits == FLOAT_BITS or quantize.activation_bits != FLOAT_BITS):
        raise ValueError(
            "`quantize.deploy` sets the bits of activations itself, and quantizes weights. Received: "
            f"bits={bits}, quantize.activation_bits={quantize.activation_bits}. Leave them out."
        )
    if bits == FLOAT_BITS and quantize.activation_bits != FLOAT_BITS:
        raise ValueError(
            "`quantize.activation_bits` must be 32 in the float control, bits=32. Received: "
            f"quantize.activation_bits={quantize.activation_bits}. Give the weights 8 bits instead."
        )


def _check_gradual(recipe: "Recipe") -> None:
    quantize, gradual = recipe.quantize, recipe.quantized.gradual
    received = f"Received: bits={quantize.bits}, quantizer={quantize.quantizer}"
    falls = all(a > b >= 2 for a, b in zip((9, *gradual.bits), gradual.bits, strict=False))
    rises = all(a < b for a, b in zip((0, *gradual.share), (*gradual.share, 1), strict=True))
    if not rises:
        raise ValueError(
            "`quantized.gradual.share` must rise within 0 to 1. "
            f"Received: quantized.gradual.share={to_text(gradual.share)}. For example 0.5,0.75."
        )
    narrow = (
        quantize.quantizer in TERNARY_QUANTIZERS or min(gradual.bits, default=9) <= quantize.bits
    )
    if not falls or (gradual.bits and narrow):
        raise ValueError(
            "`quantized.gradual.bits` must fall from 8 at most towards `bits`, for a quantizer that has "
            f"them. {received}, quantized.gradual.bits={','.join(map(str, gradual.bits))}. "
            "For example --quantized.gradual.bits=8,4 --bits=2."
        )
    if gradual.share and quantize.is_float:
        raise ValueError(
            "`quantized.gradual.share` must be of weights that are quantized. "
            f"{received}. Set --bits, or leave the method gradual out."
        )
    epochs = recipe.training_of("quantized").epochs
    if epochs <= max(len(gradual.bits), len(gradual.share)):
        raise ValueError(
            "`quantized.training.epochs` must be more than the widths in `quantized.gradual.bits` and the "
            "shares in `quantized.gradual.share`, so that the last epoch has all weights at --bits. "
            f"Received: {epochs} epochs, {len(gradual.bits)} widths, {len(gradual.share)} shares. "
            "Train longer, or take fewer."
        )


def _check_keras(recipe: "Recipe") -> None:
    interval = recipe.run.checkpoint_every
    if recipe.run.scan == "on" and interval.isdecimal():
        raise ValueError(
            "`run.checkpoint_every` counts steps where the host sees each of them; with run.scan=on an epoch "
            f"is one call. Received: run.checkpoint_every={interval} with run.scan=on. Leave one of them out."
        )
    if recipe.run.scan == "on" and recipe.run.keras != 3:
        raise ValueError(
            "`run.scan` belongs to Keras 3 on JAX. Received: run.scan=on with "
            f"run.keras={recipe.run.keras}. Set --run.keras=3, or leave it out."
        )


def _check_formats(recipe: "Recipe") -> None:
    formats, quantize = recipe.export.formats, recipe.quantize
    forms = parse_formats(",".join(formats)) if formats else ()
    if forms:
        with_arena(forms, recipe.export.arena_bytes)
    integers = [form.name for form in forms if form.is_integer]
    if integers and not quantize.deploy:
        raise ValueError(
            "Formats of integers alone need a trained step for everything that they round. "
            f"Received: formats={','.join(integers)} without quantize.deploy. "
            "Add --quantize.deploy, or export to litert-int8-full, which measures ranges."
        )
    if "keras" in formats and (quantize.deploy or quantize.activation_bits != FLOAT_BITS):
        raise ValueError(
            "`formats` may hold keras only where activations are float: the file must load without tfqkd. "
            f"Received: formats={','.join(formats)}, quantize.deploy={to_text(quantize.deploy)}, "
            f"quantize.activation_bits={quantize.activation_bits}. Export to saved_model."
        )


def _check_views(recipe: "Recipe") -> None:
    data = recipe.data
    if recipe.teacher.views and data.mixup:
        raise ValueError(
            "`teacher.views` keeps logits of views that are repeated, which mixtures are not. Received: "
            f"teacher.views={recipe.teacher.views}, data.mixup={data.mixup}. Leave one of both at 0."
        )
    plain = not (data.resized_crop or data.operations or data.mixup)
    if recipe.run.scan == "on" and not (plain and data.stream != "on"):
        raise ValueError(
            "`run.scan` keeps the images on the accelerator, and crops and mirrors them there. Received: "
            f"run.scan=on with data.stream={data.stream}, data.resized_crop={data.resized_crop}, "
            f"data.operations={data.operations}, data.mixup={data.mixup}. Leave it at auto."
        )


def _check_patience(recipe: "Recipe") -> None:
    for stage in ("teacher", "student", "quantized"):
        patience = recipe.training_of(stage).patience
        if patience and not recipe.data.validation_split:
            raise ValueError(
                "`training.patience` needs validation images. Received: "
                f"{stage}.training.patience={patience} with data.validation_split=0. "
                "Set --data.validation_split, e.g. to 0.1."
            )


def _check_progressive(recipe: "Recipe") -> None:
    progressive = recipe.progressive
    general, teacher = progressive.data, progressive.teacher
    if not progressive.epochs:
        if general or teacher:
            name, value = ("data", general) if general else ("teacher", teacher)
            raise ValueError(
                f"`progressive.{name}` belongs to progressive distillation. Received: progressive.{name}="
                f"{value} without progressive.epochs. Set --progressive.epochs, e.g. to 20,20,20."
            )
        return
    received = f"Received: progressive.epochs={to_text(progressive.epochs)}"
    if not recipe.has_teacher or recipe.teacher.views or "," in recipe.teacher.network:
        raise ValueError(
            "`progressive.epochs` needs one teacher whose layers are read in every step. "
            f"{received}, teacher={recipe.teacher.network}, teacher.views={recipe.teacher.views}. "
            "Name one, without views."
        )
    if any(progressive.epochs[:2]) and not general:
        raise ValueError(
            "`progressive.data` must name what the first two stages are trained on. "
            f"{received}, without it. Set --progressive.data, or begin --progressive.epochs with 0,0."
        )
    if progressive.epochs[0] and not (is_saved(teacher) and saved_model(teacher).exists()):
        raise ValueError(
            "`progressive.teacher` must be the path of a saved Keras model, which teaches the first stage. "
            f"{received}, progressive.teacher={teacher!r}. Set it, or begin --progressive.epochs with 0."
        )


def _check_float_student(recipe: "Recipe") -> None:
    student = recipe.student.network
    if recipe.distil.float_student and is_saved(student):
        raise ValueError(
            "`distil.float_student` teaches a float student that the run trains. Received: "
            f"distil.float_student with the saved student={student!r}, which stays as it is. "
            "Leave --distil.float_student out, or name an architecture."
        )
