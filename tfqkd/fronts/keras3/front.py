"""The names of the keras3 front; see `tfqkd.fronts.front.Front`."""

import contextlib
import dataclasses
import functools
import os
import pathlib
import random
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from tfqkd.core.gradual import GradualQuantizer
from tfqkd.data.images import ImageData
from tfqkd.fronts.front import Facts
from tfqkd.fronts.keras3.cloning import leaves
from tfqkd.fronts.keras3.fast_compilation import compiled_quickly
from tfqkd.fronts.keras3.files import load_model
from tfqkd.fronts.keras3.files import open_model as open
from tfqkd.fronts.keras3.filters import without_filters
from tfqkd.fronts.keras3.fitting import KerasTrainer, calibrate, has_accelerator
from tfqkd.fronts.keras3.gradual import GradualQuantization
from tfqkd.fronts.keras3.model import quantize_model
from tfqkd.fronts.keras3.model import require_quantizable as quantizable_layers
from tfqkd.fronts.keras3.profile import Profile
from tfqkd.fronts.keras3.roundings import roundings
from tfqkd.fronts.keras3.strategy import DISTRIBUTES, OneDevice, make_strategy
from tfqkd.fronts.keras3.stripping import strip_quantization
from tfqkd.fronts.keras3.summary import quantization_summary
from tfqkd.fronts.keras3.teaching import logits, map_logits, network, taught, view_logits
from tfqkd.fronts.keras_model import model_fingerprint, save
from tfqkd.fronts.logits import require_logits
from tfqkd.fronts.settings import METHOD_NEEDS, Capabilities, Fitting, Quantization
from tfqkd.fronts.teaching import together
from tfqkd.fronts.tensorboard import EpochScalars
from tfqkd.fronts.trainer import Watcher
from tfqkd.models import build as build_network
from tfqkd.process.messages import last_line

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
_WRAPPED_FILE = "quantized.keras"
_XLA_FLAGS, _ALWAYS_SAME = "XLA_FLAGS", "--xla_gpu_deterministic_ops=true"


def strategy(name: str, batch_size: int, jit_compile: bool) -> OneDevice:
    """Returns where to compute."""
    return make_strategy(name, batch_size, jit_compile)


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


@compiled_quickly()
def load(path: pathlib.Path) -> keras.Model:
    """Loads a saved model."""
    return load_model(path)


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
    rounding = tuple(roundings(model))
    return Facts(model.name, parameters, model.input_shape[1:], model.output_shape[1:], rounding)


def is_model(teacher: object) -> bool:
    """Whether a teacher is a model of Keras 3."""
    return isinstance(teacher, keras.Model)


def require_runs(name: str, model: keras.Model, data: ImageData) -> None:
    """Raises ValueError if a saved model cannot compute."""
    try:
        logits(model, data.train.images[:1])
    except Exception as error:
        raise ValueError(
            f"A saved model must run on images of the data set {data.name}. "
            f"Received: {name}, which Keras refuses to call ({last_line(error)}). "
            "Build it again, and train it."
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


def trainer(model: keras.Model, fitting: Fitting, data: ImageData) -> KerasTrainer:
    """Returns a network, or what trains it, ready to be trained."""
    return KerasTrainer(model, fitting, data)


def logs(directory: pathlib.Path, profile: tuple[int, int] | None) -> list[Watcher]:
    """Returns watchers: Keras' own callback for TensorBoard would import TensorFlow."""
    return [EpochScalars(directory), *([Profile(directory, profile)] if profile else [])]
