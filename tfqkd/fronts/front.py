"""What a front offers: the names that `training/` uses, whichever Keras is behind them.

A front is a module, `tfqkd.fronts.NAME.front`, with the names of `Front`. Its functions make models and
take models; no other code looks into one. Plain values (`Fitting`, `Quantization`, `Distillation`) say what
a stage of training does. A front does not decide where a training stands, whether it resumes and what is
kept: a `Trainer` writes its state to and reads it from the path that it gets, and calls its watchers.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

from tfqkd.data.augmentation import Augmentation
from tfqkd.data.images import ImageData, Split
from tfqkd.data.pictures import Pictures
from tfqkd.fronts.settings import Capabilities, Distillation, Fitting, Quantization
from tfqkd.fronts.terms import Network, Term
from tfqkd.fronts.trainer import Logits, Trainer
from tfqkd.fronts.workers import Workers

Model = Any
"""A network of the front."""


@dataclasses.dataclass(frozen=True)
class Facts:
    """What there is to know of a model.

    Attributes:
        name: Its own.
        parameters: Trainable ones, also those of frozen layers.
        input_shape: Of an image; None where any size will do.
        output_shape: Of what it returns for an image.
        roundings: The layers that round activations by fixed steps; nothing before them trains.
    """

    name: str
    parameters: int
    input_shape: tuple[int | None, ...]
    output_shape: tuple[int | None, ...]
    roundings: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Opened:
    """A model or exported file that is ready to run.

    Attributes:
        image_shape: Height, width and channels that it takes; None or 0 where any will do.
        serve: From a batch of raw images to what it returns, `[n, classes]`.
        output: What that is, of `tfqkd.runtime.outputs.OUTPUTS`, or what tells it from the outputs.
        centre_crop: Whether it says that images are to be cut to their middle.
    """

    image_shape: tuple[int | None, ...]
    serve: Callable[[np.ndarray], np.ndarray]
    output: str | Callable[[np.ndarray], str]
    centre_crop: bool = False


class Strategy(Protocol):
    """Where a run computes.

    Attributes:
        workers: The processes that train together.
        replicas: Into how many parts a batch is cut.
    """

    workers: Workers
    replicas: int

    def scope(self) -> AbstractContextManager[Any]:
        """Models that are made inside belong to all its devices."""


class Front(Protocol):
    """The names of a front's module."""

    CAPABILITIES: Capabilities

    def strategy(self, name: str, batch_size: int, jit_compile: bool) -> Strategy:
        """Returns where to compute; before anything else is computed.

        Raises:
            ValueError: If the batch cannot be shared evenly, or the devices cannot do what is asked.
        """

    def computes_in_bfloat16(self) -> bool:
        """Whether what trains here has instructions for bfloat16."""

    def make_deterministic(self) -> None:
        """Lets this process use only operations that always give the same bits."""

    def state_kept(self) -> AbstractContextManager[None]:
        """Gives the caller back, in the end, what a stage changes for the whole process."""

    def start(self, seed: int, precision: str) -> None:
        """Begins a stage: nothing is left of the one before, and random weights follow the seed."""

    def set_precision(self, precision: str) -> None:
        """Sets the precision of layers that are made from now on."""

    def build(
        self,
        name: str,
        image_shape: tuple[int, int, int],
        classes: int,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        weights: pathlib.Path | None = None,
        seed: int | None = None,
    ) -> Model:
        """Builds a network by its name, of random weights or of those in a file, which may not fit.

        Without a seed random weights go on with the random numbers of the stage; with one they follow it, and
        what comes after them is another network beside the student's.
        """

    def network(self, model: Model, build: Callable[[str | None, int], Model]) -> Network:
        """Returns a model as a method sees it when it makes its terms."""

    def load(self, path: pathlib.Path) -> Model:
        """Loads a saved model; raises ValueError if it is none, or holds code."""

    def save(self, model: Model, path: pathlib.Path) -> None:
        """Saves a model without an optimizer."""

    def facts(self, model: Model) -> Facts:
        """Returns what there is to know of a model."""

    def is_model(self, teacher: object) -> bool:
        """Whether a teacher is a model of the front, with weights that can be looked at."""

    def model_fingerprint(self, model: Model) -> str:
        """Returns the SHA-256 of a model's architecture and weights."""

    def require_logits(self, model: Model, role: str) -> None:
        """Raises ValueError if a model ends in softmax or sigmoid."""

    def require_runs(self, name: str, model: Model, data: ImageData) -> None:
        """Raises ValueError if a saved model cannot compute."""

    def require_precision(self, name: str, model: Model, precision: str) -> None:
        """Raises ValueError if a saved student computes in another precision than the run."""

    def require_quantizable(self, model: Model, quantization: Quantization) -> None:
        """Raises ValueError if a model cannot be quantized so."""

    def quantize(self, model: Model, quantization: Quantization) -> Model:
        """Returns the quantized model."""

    def without_filters(self, model: Model, share: float, norm: str) -> Model:
        """Returns a float model without its weakest filters; raises ValueError if none can go."""

    def calibrate(self, model: Model, fitting: Fitting, data: ImageData) -> None:
        """Lets quantized activations take their ranges from the first training batch."""

    def quantization_callbacks(self, quantization: Quantization) -> list[Any]:
        """Returns the callbacks that the training of a model so quantized needs."""

    def strip(self, model: Model) -> Model:
        """Returns a plain model with the quantized weights; a copy of one that is plain."""

    def save_wrapped(self, model: Model, directory: pathlib.Path) -> None:
        """Saves a quantized model with its latent weights."""

    def summary(self, model: Model) -> tuple[str, list[dict[str, Any]]]:
        """Returns what is quantized and how: a text, and a row for each layer with a kernel."""

    def together(self, teachers: Sequence[Model], distillation: Distillation | None = None) -> Any:
        """Returns several teachers as one, combined as the distillation says."""

    def view_logits(
        self, teacher: object, split: Split, augmentation: Augmentation
    ) -> Callable[[int, int, int], np.ndarray]:
        """Returns a teacher's logits as a function of (view, first image, image behind the last)."""

    def training_batches(
        self,
        split: Split,
        *,
        batch_size: int,
        classes: int,
        seed: int,
        augmentation: Augmentation,
        epochs: int,
        first_epoch: int = 0,
        first_step: int = 0,
        fixed_views: int = 0,
        teacher_logits: Sequence[Logits] = (),
    ) -> Any:
        """Returns the batches of a training as the front's own Keras takes them."""

    def map_logits(self, file: pathlib.Path, count: int, classes: int) -> Logits:
        """Maps kept logits, float16 `[count, classes]` in the file, into memory."""

    def taught(
        self,
        student: Model,
        teachers: Sequence[Model],
        kept: bool,
        distillation: Distillation | None,
        terms: Sequence[Term] = (),
    ) -> Model:
        """Returns what trains a student with these teachers.

        Args:
            student: Gets trained.
            teachers: Live ones, frozen; none in the control.
            kept: Whether the teachers' logits come with the batches instead.
            distillation: How; None where the terms alone teach.
            terms: What methods add to the loss.
        """

    def trainer(self, model: Model, fitting: Fitting, data: ImageData) -> Trainer:
        """Returns a network, or what trains it, ready to be trained."""

    def logs(self, directory: pathlib.Path, profile: tuple[int, int] | None) -> Sequence[Any]:
        """Returns what writes TensorBoard's logs, and a profile of these steps: watchers or callbacks."""

    def logits(self, model: Model, images: np.ndarray | Pictures) -> np.ndarray:
        """Returns a model's logits for raw images, float32 `[N, classes]`."""

    def open(self, path: pathlib.Path) -> Opened:
        """Opens a saved model, or an exported file that only the front can run."""
