"""The names of the tfmot front; see `tfqkd.fronts.front.Front`."""

import contextlib
import dataclasses
import pathlib
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tfqkd.compat import keras, tf
from tfqkd.data.pictures import Pictures
from tfqkd.fronts.front import Facts
from tfqkd.fronts.keras_model import model_fingerprint, predicted, save
from tfqkd.fronts.logits import require_logits
from tfqkd.fronts.settings import METHOD_NEEDS, Capabilities
from tfqkd.fronts.teaching import together
from tfqkd.fronts.tfmot.batches import training_batches
from tfqkd.fronts.tfmot.filters import without_filters
from tfqkd.fronts.tfmot.fitting import calibrate, logs, trainer
from tfqkd.fronts.tfmot.opened import open_model as open
from tfqkd.fronts.tfmot.precision import computes_in_bfloat16
from tfqkd.fronts.tfmot.quantizing import (
    quantization_callbacks,
    quantize,
    require_quantizable,
)
from tfqkd.fronts.tfmot.roundings import roundings
from tfqkd.fronts.tfmot.saved_models import load_model as load
from tfqkd.fronts.tfmot.saved_models import require_precision, require_runs
from tfqkd.fronts.tfmot.strategy import RunStrategy, make_strategy
from tfqkd.fronts.tfmot.stripping import strip_quantization as strip
from tfqkd.fronts.tfmot.summary import quantization_summary
from tfqkd.fronts.tfmot.teaching import map_logits, network, taught, view_logits
from tfqkd.models import build as build_network

CAPABILITIES = Capabilities(
    strategies=frozenset({"auto", "one_device", "mirrored", "multi_worker"}),
    precisions=frozenset({"float32", "mixed_float16", "mixed_bfloat16"}),
    deterministic=True,
    jit_compile=True,
    methods=frozenset(METHOD_NEEDS),
)
_WRAPPED_FILE = "quantized.h5"


def strategy(name: str, batch_size: int, jit_compile: bool) -> RunStrategy:
    """Returns where to compute."""
    return RunStrategy(make_strategy(name, batch_size, jit_compile))


def make_deterministic() -> None:
    """Lets this process use only operations that always give the same bits."""
    tf.config.experimental.enable_op_determinism()


@contextlib.contextmanager
def state_kept() -> Iterator[None]:
    """Gives the caller's dtype policy, and kind of random generator for layers, back in the end.

    Inside, the policy is float32 until it is set, whatever the caller has chosen.
    """
    policy = keras.mixed_precision.global_policy()
    by_generator = keras.backend.experimental.is_tf_random_generator_enabled()
    keras.mixed_precision.set_global_policy("float32")
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(policy)
        if not by_generator:
            keras.backend.experimental.disable_tf_random_generator()


def start(seed: int, precision: str) -> None:
    """Begins a stage."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    # The state of random layers then is in variables, which a checkpoint keeps.
    keras.backend.experimental.enable_tf_random_generator()
    keras.mixed_precision.set_global_policy(precision)


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
        keras.utils.set_random_seed(seed)
    return build_network(name, image_shape, classes, mean=mean, std=std, weights=weights)


def set_precision(precision: str) -> None:
    """Sets the precision of layers that are made from now on."""
    keras.mixed_precision.set_global_policy(precision)


def save_wrapped(model: keras.Model, directory: pathlib.Path) -> None:
    """Saves a quantized model with its latent weights."""
    with warnings.catch_warnings():
        # Keras calls h5 legacy.
        warnings.simplefilter("ignore", UserWarning)
        model.save(directory / _WRAPPED_FILE, include_optimizer=False)


def facts(model: keras.Model) -> Facts:
    """Returns what there is to know of a model."""
    trainable = [weight for weight in model.weights if weight.trainable]
    parameters = int(sum(np.prod(weight.shape) for weight in trainable))
    rounding = tuple(roundings(model))
    return Facts(model.name, parameters, model.input_shape[1:], model.output_shape[1:], rounding)


def is_model(teacher: object) -> bool:
    """Whether a teacher is a model of tf_keras."""
    return isinstance(teacher, keras.Model)


def summary(model: keras.Model) -> tuple[str, list[dict[str, Any]]]:
    """Returns what is quantized and how."""
    found = quantization_summary(model, print_fn=None)
    return str(found), [dataclasses.asdict(layer) for layer in found.layers]


def logits(model: keras.Model, images: np.ndarray | Pictures) -> np.ndarray:
    """Returns a model's logits for raw images, float32 `[N, classes]`."""
    return predicted(model, images)
