"""The names of the keras3 front; see `tfqkd.fronts.front.Front`."""

import contextlib
import dataclasses
import functools
import json
import os
import pathlib
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from tfqkd.core import ops
from tfqkd.core.gradual import GradualQuantizer
from tfqkd.core.teachers import LOGITS_IN_BATCH
from tfqkd.data.augmentation import Augmentation
from tfqkd.data.batches import FIXED_VIEWS_SEED
from tfqkd.data.images import ImageData, Split
from tfqkd.data.pictures import Pictures
from tfqkd.data.varied import varied_images
from tfqkd.fronts.foreign import ForeignTeacher
from tfqkd.fronts.front import Facts
from tfqkd.fronts.keras3.cloning import leaves
from tfqkd.fronts.keras3.distiller import Distiller
from tfqkd.fronts.keras3.files import load_model
from tfqkd.fronts.keras3.files import open_model as open
from tfqkd.fronts.keras3.filters import without_filters
from tfqkd.fronts.keras3.fitting import KerasTrainer, calibrate, has_accelerator
from tfqkd.fronts.keras3.gradual import GradualQuantization
from tfqkd.fronts.keras3.model import quantize_model, quantized_activations, strip_quantization
from tfqkd.fronts.keras3.model import require_quantizable as quantizable_layers
from tfqkd.fronts.keras3.ops import OPS
from tfqkd.fronts.keras3.place import DISTRIBUTES, Place, make_place
from tfqkd.fronts.keras3.profile import Profile
from tfqkd.fronts.keras3.quickly import compiled_quickly
from tfqkd.fronts.keras3.summary import quantization_summary
from tfqkd.fronts.keras3.taps import between, layers_of
from tfqkd.fronts.keras3.teachers import Ensemble, require_logits
from tfqkd.fronts.settings import (
    METHOD_NEEDS,
    Capabilities,
    Distillation,
    Fitting,
    Quantization,
)
from tfqkd.fronts.tensorboard import EpochScalars
from tfqkd.fronts.terms import Network, Term
from tfqkd.fronts.trainer import Watcher
from tfqkd.models import build as build_network
from tfqkd.storage import digest

__all__ = [
    "CAPABILITIES",
    "answering",
    "build",
    "calibrate",
    "computes_in_bfloat16",
    "facts",
    "is_model",
    "load",
    "logits",
    "logs",
    "make_deterministic",
    "map_logits",
    "model_fingerprint",
    "network",
    "open",
    "place",
    "quantization_callbacks",
    "quantize",
    "require_logits",
    "require_precision",
    "require_quantizable",
    "require_runs",
    "save",
    "save_wrapped",
    "set_precision",
    "start",
    "state_kept",
    "strip",
    "summary",
    "taught",
    "together",
    "trainer",
    "without_filters",
]

_SEVERAL = ["mirrored"] if keras.backend.backend() in DISTRIBUTES else []
CAPABILITIES = Capabilities(
    strategies=frozenset({"auto", "one_device", *_SEVERAL}),
    precisions=frozenset({"float32", "mixed_float16", "mixed_bfloat16"}),
    # What makes TensorFlow and PyTorch so is theirs to import.
    deterministic=keras.backend.backend() == "jax",
    jit_compile=True,
    methods=frozenset(METHOD_NEEDS),
    profile=keras.backend.backend() == "jax",
    # Keras has it on the others alone.
    steps_per_execution=keras.backend.backend() != "torch",
)
_TERMS_ALONE: dict[str, Any] = {"coefficient": 0.0, "soft_loss": "none"}
_WRAPPED_FILE = "quantized.keras"
_XLA_FLAGS, _ALWAYS_SAME = "XLA_FLAGS", "--xla_gpu_deterministic_ops=true"


def place(strategy: str, batch_size: int, jit_compile: bool) -> Place:
    """Returns where to compute."""
    return make_place(strategy, batch_size, jit_compile)


def computes_in_bfloat16() -> bool:
    """Whether there is an accelerator: those that the backends know compute in it."""
    return has_accelerator()


def make_deterministic() -> None:
    """Lets XLA on a GPU use only operations that always give the same bits; on a CPU all do."""
    flags = os.environ.get(_XLA_FLAGS, "")
    if _ALWAYS_SAME not in flags:
        os.environ[_XLA_FLAGS] = f"{flags} {_ALWAYS_SAME}".strip()


@contextlib.contextmanager
def state_kept() -> Iterator[None]:
    """Gives the caller's dtype policy back in the end; inside it is float32 until it is set."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)


def start(seed: int, precision: str) -> None:
    """Begins a stage."""
    keras.utils.clear_session(free_memory=False)
    _set_seed(seed)
    keras.config.set_dtype_policy(precision)


def _set_seed(seed: int) -> None:
    if keras.backend.backend() == "tensorflow":
        keras.utils.set_random_seed(seed)
        return
    # It would import TensorFlow; all that Keras draws elsewhere begins with Python's generator.
    random.seed(seed)
    np.random.seed(seed)


def set_precision(precision: str) -> None:
    """Sets the precision of layers that are made from now on."""
    keras.config.set_dtype_policy(precision)


@compiled_quickly()
def build(
    name: str,
    image_shape: tuple[int, int, int],
    classes: int,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    weights: pathlib.Path | None = None,
    seed: int | None = None,
) -> keras.Model:
    """Builds a network by its name."""
    if seed is not None:
        _set_seed(seed)
    return build_network(
        name, image_shape, classes, mean=mean, std=std, weights=weights, keras=keras
    )


def network(model: keras.Model, build: Callable[[str | None, int], keras.Model]) -> Network:
    """Returns a model as a method sees it when it makes its terms."""
    widths = tuple(each.quantizer.bits for each in quantized_activations(model))
    return Network(
        model.name,
        layers_of(model),
        build,
        OPS,
        keras,
        activation_bits=widths,
        between=functools.partial(between, model),
    )


@compiled_quickly()
def load(path: pathlib.Path) -> keras.Model:
    """Loads a saved model."""
    return load_model(path)


def save(model: keras.Model, path: pathlib.Path) -> None:
    """Saves a model."""
    model.save(path)


def save_wrapped(model: keras.Model, directory: pathlib.Path) -> None:
    """Saves a quantized model with its latent weights."""
    model.save(directory / _WRAPPED_FILE)


def facts(model: keras.Model) -> Facts:
    """Returns what there is to know of a model."""
    statistics = {
        id(weight)
        for _, layer in leaves(model)
        if isinstance(layer, keras.layers.BatchNormalization)
        for weight in (layer.moving_mean, layer.moving_variance)
    }
    trained = [weight for weight in model.weights if id(weight) not in statistics]
    parameters = int(sum(np.prod(weight.shape) for weight in trained))
    return Facts(model.name, parameters, model.input_shape[1:], model.output_shape[1:])


def is_model(teacher: object) -> bool:
    """Whether a teacher is a model of Keras 3."""
    return isinstance(teacher, keras.Model)


def model_fingerprint(model: keras.Model) -> str:
    """Returns the SHA-256 of a model's architecture and of the values of its weights."""
    architecture = json.dumps(json.loads(model.to_json()), sort_keys=True)
    return digest(architecture, *(weight.tobytes() for weight in model.get_weights()))


def require_runs(name: str, model: keras.Model, data: ImageData) -> None:
    """Raises ValueError if a saved model cannot compute."""
    try:
        logits(model, data.train.images[:1])
    except Exception as error:
        said = str(error).strip().splitlines()[-1].strip()
        raise ValueError(
            f"A saved model must run on images of the data set {data.name}. "
            f"Received: {name}, with which Keras fails ({said}). Train or build it anew."
        ) from error


def require_precision(name: str, model: keras.Model, precision: str) -> None:
    """Raises ValueError if a saved student computes in another precision than the run."""
    wanted = keras.DTypePolicy(precision).compute_dtype
    found = {layer.compute_dtype for _, layer in leaves(model) if layer.weights}
    # Single layers, such as the logits, are float32 under every policy.
    if not {wanted} <= found <= {wanted, "float32"}:
        raise ValueError(
            "A saved student must compute in the precision of the run. "
            f"Received: {name}, whose layers compute in {', '.join(sorted(found))}, with {precision}. "
            "Set the run's precision to what it has, or build it under "
            "keras.config.set_dtype_policy(...), load its weights and save it again."
        )


@compiled_quickly()
def quantize(model: keras.Model, quantization: Quantization) -> keras.Model:
    """Returns the quantized model."""
    return quantize_model(model, quantization.scheme, quantization.layers)


def require_quantizable(model: keras.Model, quantization: Quantization) -> None:
    """Raises ValueError if a model cannot be quantized so."""
    quantizable_layers(model, quantization.scheme, quantization.layers)


def quantization_callbacks(quantization: Quantization) -> list[keras.callbacks.Callback]:
    """Returns the callbacks that the training of a model so quantized needs."""
    if isinstance(quantization.scheme.quantizer, GradualQuantizer):
        return [GradualQuantization(quantization.gradual_shares)]
    return []


@compiled_quickly()
def strip(model: keras.Model) -> keras.Model:
    """Returns a plain model with the quantized weights."""
    return strip_quantization(model)


def summary(model: keras.Model) -> tuple[str, list[dict[str, Any]]]:
    """Returns what is quantized and how."""
    found = quantization_summary(model, print_fn=None)
    return str(found), [dataclasses.asdict(layer) for layer in found.layers]


def together(teachers: Sequence[Any], distillation: Distillation | None = None) -> Any:
    """Returns several teachers as one, combined as the distillation says."""
    if len(teachers) == 1:
        return teachers[0]
    return Ensemble(teachers, *(distillation.combination() if distillation else ()))


def answering(
    teacher: object, split: Split, augmentation: Augmentation
) -> Callable[[int, int, int], np.ndarray]:
    """Returns a teacher's logits as a function of (view, first image, image behind the last)."""

    def answer(view: int, start: int, stop: int) -> np.ndarray:
        rows = np.arange(start, stop)
        images = varied_images(split.images, rows, FIXED_VIEWS_SEED, view, augmentation)
        return _said(teacher, images)

    return answer


def _said(teacher: Any, images: np.ndarray) -> np.ndarray:
    if isinstance(teacher, Ensemble):
        return teacher.combined([_said(each, images) for each in teacher.teachers], ops.NUMPY)
    return logits(teacher, images)


def map_logits(file: pathlib.Path, count: int, classes: int) -> np.ndarray:
    """Maps kept logits into memory."""
    return np.memmap(file, np.float16, mode="r", shape=(count, classes))


def taught(
    student: keras.Model,
    teachers: Sequence[keras.Model],
    kept: bool,
    distillation: Distillation | None,
    terms: Sequence[Term] = (),
) -> Distiller:
    """Returns a distiller; see `tfqkd.fronts.front.Front.taught`."""
    teacher = LOGITS_IN_BATCH if kept else together(teachers, distillation) if teachers else None
    settings = _TERMS_ALONE
    if distillation:
        settings = {"coefficient": distillation.coefficient(0.0), **distillation.soft()}
    return Distiller(student=student, teacher=teacher, terms=terms, **settings)


def trainer(network: keras.Model, fitting: Fitting, data: ImageData) -> KerasTrainer:
    """Returns a network, or what trains it, ready to be trained."""
    return KerasTrainer(network, fitting, data)


def logs(directory: pathlib.Path, profile: tuple[int, int] | None) -> list[Watcher]:
    """Returns watchers: Keras' own callback for TensorBoard would import TensorFlow."""
    return [EpochScalars(directory), *([Profile(directory, profile)] if profile else [])]


def logits(model: keras.Model, images: np.ndarray | Pictures, batch_size: int = 500) -> np.ndarray:
    """Returns the logits of a model, or of a foreign teacher, for raw images, float32 `[N, classes]`."""
    if isinstance(model, ForeignTeacher):
        return model.logits(images)
    if isinstance(images, Pictures):
        parts = (images[at : at + batch_size] for at in range(0, len(images), batch_size))
        return np.concatenate([logits(model, part, batch_size) for part in parts])
    return np.asarray(model.predict(images, batch_size=batch_size, verbose=0), np.float32)
