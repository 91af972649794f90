"""What shows before training that stages cannot end well."""

from collections.abc import Mapping, Sequence

from tfqkd.core.rounded_layers import require_no_fixed_steps
from tfqkd.core.weights import NOT_SYNCHRONIZED, ratio_of
from tfqkd.data.batches import steps_per_epoch
from tfqkd.data.images import ImageData
from tfqkd.export.choice import require_exportable
from tfqkd.fronts.foreign import ForeignTeacher
from tfqkd.fronts.front import Facts, Model
from tfqkd.methods.hooks import require_capable
from tfqkd.methods.method import require_together
from tfqkd.recipe.models import saved_model
from tfqkd.training.fitting import fitting_of
from tfqkd.training.making import Maker
from tfqkd.training.presets import student_stage
from tfqkd.training.products import model_key
from tfqkd.training.stage import ModelFile, Source, Stage, walk
from tfqkd.training.teacher_cache import cache_bytes, require_space

TRIED_IMAGES = 16
"""On how many training images an untrained student is exported."""


def check(
    sources: Sequence[Source], formats: Sequence[str], maker: Maker, options: Mapping[str, int]
) -> None:
    """Builds every model of a run once, untrained, so that a misfit shows before training.

    Args:
        sources: What the run is made of; the last one is exported.
        formats: The formats that it is exported in.
        maker: Makes them.
        options: Of the formats.

    Raises:
        ValueError: If a model does not fit the data set, ends in softmax, computes in another precision,
            cannot be quantized as its stage says, or has no fixed images to be exported for; if teachers are
            the same file, or their logits have no room.
        ExportError: If a format cannot hold the student; each is tried where there is something to train. A
            trial that needs another process has but begun.
    """
    models: dict[tuple[str, str], Model] = {}
    checked: list[tuple[str, object]] = []
    every = list(walk(sources))
    stages = [source for source in every if isinstance(source, Stage)]
    for stage in stages:
        steps_per_epoch(maker.data_of(stage).train, stage.training.batch_size)
        _require_different(stage.teachers)
        _require_loaded(stage)
    for source in every:
        if source.architecture not in models:
            models[source.architecture] = _fitting_model(source, maker)
    last = student_stage(sources)
    if formats:
        require_exportable(models[last.architecture], maker.data.class_names, formats)
    for stage in stages:
        model, quantization = models[stage.architecture], stage.quantization and stage.quantized
        fitting_of(stage, maker.execution, maker.data_of(stage))
        require_together(stage.methods)
        require_capable(stage.methods, maker.front.CAPABILITIES)
        _require_balance(stage, maker.strategy.replicas)
        if isinstance(stage.start, ModelFile):
            maker.front.require_precision(stage.network, model, stage.precision)
            if stage.quantization is None:
                require_no_fixed_steps(maker.front.facts(model).roundings, activation_bits=None)
        if quantization and (stage.network, quantization) not in checked:
            maker.front.require_quantizable(model, quantization)
            checked.append((stage.network, quantization))
    for stage in stages:
        _require_terms(stage, models, maker)
    for stage in stages:
        _require_cache_space(stage, maker)
    if formats and not maker.is_done(last):
        student, images = maker.quantized(models[last.architecture], last), maker.data.train
        names = maker.data.class_names
        maker.trial.begin(student, formats, images.sample(TRIED_IMAGES), names, **options)


def _fitting_model(source: Source, maker: Maker) -> Model:
    """Returns a model as the first stage that has it finds it."""
    front, name = maker.front, source.network
    if source.is_foreign:
        foreign = ForeignTeacher(saved_model(name))
        _require_fit(name, foreign.facts(), maker.data)
        return foreign
    saved = isinstance(source, ModelFile)
    model = front.load(saved_model(name)) if saved else maker.build(*source.architecture)
    layers_only = isinstance(source, ModelFile) and source.layers_only
    _require_fit(name, front.facts(model), maker.data, layers_only)
    if saved:
        front.require_runs(name, model, maker.data)
    front.require_logits(model, source.role)
    return model


def _require_terms(stage: Stage, models: dict[tuple[str, str], Model], maker: Maker) -> None:
    """Lets methods look at the networks once that they add terms for."""
    if any("terms" in method.needs for method in stage.methods):
        live = () if stage.training.fixed_views else stage.teachers
        model = maker.quantized(models[stage.architecture], stage)
        maker.terms(stage, model, [models[each.architecture] for each in live])


def _require_balance(stage: Stage, replicas: int) -> None:
    """Replicas that communicate within a step cannot do so while they only measure."""
    weights = {method.name: getattr(method, "weight", 0.0) for method in stage.methods}
    if stage.distillation:
        weights["soft_loss"] = stage.distillation.soft_weight or 0.0
    losses = [name for name, weight in weights.items() if ratio_of(weight) is not None]
    if losses and replicas > 1 and stage.training.synchronized_batch_norm:
        raise ValueError(NOT_SYNCHRONIZED.format(losses=", ".join(losses), replicas=replicas))


def _require_loaded(stage: Stage) -> None:
    """A teacher that the run's Keras does not load can give kept logits, and nothing else."""
    live = () if stage.training.fixed_views else stage.teachers
    for each in (*live, *([stage.start] if stage.start else [])):
        if each.is_foreign:
            raise ValueError(
                "A teacher that the run's Keras cannot load must have its logits kept. Received: "
                f"{each.network} for the {stage.label}. Set --teacher.views=16, or train with the Keras "
                "that saved it."
            )


def _require_different(teachers: Sequence[Source]) -> None:
    named: dict[str, str] = {}
    for each in teachers:
        if isinstance(each, ModelFile):
            same = named.setdefault(model_key(saved_model(each.network)), each.network)
            if same is not each.network:
                raise ValueError(
                    f"Teachers must be different models. Received: {each.network}, which has the same "
                    f"contents as {same}. Name it once."
                )


def _require_fit(name: str, model: Facts, data: ImageData, layers_only: bool = False) -> None:
    shapes = (model.input_shape, (data.classes,) if layers_only else model.output_shape)
    wanted = (tuple(data.image_shape), (data.classes,))
    fits = all(
        have in (None, want)
        for has, wants in zip(shapes, wanted, strict=True)
        for have, want in zip(has, wants, strict=len(has) == len(wants))
    )
    if not fits or any(len(has) != len(want) for has, want in zip(shapes, wanted, strict=True)):
        raise ValueError(
            f"A model must fit the data set {data.name}: images {wanted[0]}, {data.classes} classes. "
            f"Received: {name}, from {shapes[0]} to {shapes[1]}. Choose another model or data set."
        )


def _require_cache_space(stage: Stage, maker: Maker) -> None:
    views = stage.training.fixed_views
    if not (stage.teachers and views):
        return
    size = cache_bytes(len(maker.data.train), maker.data.classes, views)
    # A teacher that is still to be trained has no logits there yet.
    missing = 0 if all(map(maker.is_done, stage.teachers)) else size
    require_space(maker.cache, size, missing, maker.execution.cache_limit_gb)
