"""A tiny front: softmax regression in NumPy. It proves the seam, and makes the tests of training fast."""

import contextlib
import dataclasses
import zipfile

import numpy as np

from tfqkd.core.ops import NUMPY as OPS
from tfqkd.core.schedulers import Scheduler
from tfqkd.core.schedules import first_behind
from tfqkd.core.views import NUMPY, draw_numbers, draw_order
from tfqkd.data.augmentation import Augmentation
from tfqkd.data.batches import FIXED_VIEWS_SEED
from tfqkd.fronts.front import Facts, Opened
from tfqkd.fronts.settings import Capabilities
from tfqkd.fronts.terms import Network
from tfqkd.fronts.trainer import ForeignStateError
from tfqkd.fronts.workers import Workers
from tfqkd.runtime.outputs import LOGITS
from tfqkd.storage import digest, file_digest

CAPABILITIES = Capabilities(
    strategies=frozenset({"auto", "one_device"}),
    precisions=frozenset({"float32"}),
    deterministic=True,
    jit_compile=False,
    methods=frozenset({"average"}),
)
_generator = np.random.default_rng(0)


@dataclasses.dataclass
class Regression:
    """Logits `Q(kernel)·pixels/255 + bias`; a kernel of `bits` is quantized."""

    name: str
    image_shape: tuple
    kernel: np.ndarray
    bias: np.ndarray
    bits: int | None = None

    def weights(self):
        return [self.kernel, self.bias]

    def step(self):
        return float(np.abs(self.kernel).max() / (2 ** (self.bits - 1) - 1))

    def quantized(self):
        if self.bits is None:
            return self.kernel
        step = self.step()
        return (step * np.round(self.kernel / step)).astype(np.float32)

    def __call__(self, images):
        return pixels(images) @ self.quantized() + self.bias


@dataclasses.dataclass
class Taught:
    """A student and what it learns from: live teachers, or logits in the batch, or none."""

    student: Regression
    teachers: list
    kept: bool
    settings: object


class Strategy:
    workers = Workers()
    replicas = 1

    def scope(self):
        return contextlib.nullcontext()


def strategy(name, batch_size, jit_compile):
    return Strategy()


def computes_in_bfloat16():
    return False


def make_deterministic():
    pass


def state_kept():
    return contextlib.nullcontext()


def start(seed, precision):
    global _generator  # noqa: PLW0603 (as a framework keeps its own)
    _generator = np.random.default_rng(seed)


def set_precision(precision):
    pass


def build(name, image_shape, classes, *, mean, std, weights=None, seed=None):
    if weights:
        return load(weights)
    kernel = _generator.normal(0, 0.1, (int(np.prod(image_shape)), classes))
    return Regression(name, image_shape, kernel.astype(np.float32), np.zeros(classes, np.float32))


def load(path):
    try:
        with np.load(path, allow_pickle=False) as file:
            shape = tuple(map(int, file["image_shape"]))
            return Regression(str(file["name"]), shape, file["kernel"], file["bias"])
    except (ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"A model must be a regression. Received: {path}.") from error


def save(model, path):
    with path.open("wb") as file:
        values = {"name": model.name, "kernel": model.kernel, "bias": model.bias}
        np.savez(file, image_shape=model.image_shape, **values)


def facts(model):
    count = model.kernel.size + model.bias.size
    return Facts(model.name, count, model.image_shape, model.bias.shape)


def is_model(teacher):
    return isinstance(teacher, Regression)


def model_fingerprint(model):
    return digest(model.name, *(weight.tobytes() for weight in model.weights()))


def require_logits(model, role):
    pass


def require_runs(name, model, data):
    model(data.train.images[:1])


def require_precision(name, model, precision):
    pass


def require_quantizable(model, quantization):
    if any(isinstance(selector, str) for selector in quantization.layers or ()):
        raise ValueError(f"`layers` must name layers. Received: {quantization.layers}.")


def quantize(model, quantization):
    weights = [weight.copy() for weight in model.weights()]
    return Regression(model.name, model.image_shape, *weights, quantization.scheme.bits.weights)


def without_filters(model, share, norm):
    raise ValueError("A regression has no filters.")


def calibrate(model, fitting, data):
    pass


def quantization_callbacks(quantization):
    return []


def strip(model):
    return Regression(model.name, model.image_shape, model.quantized(), model.bias.copy())


def save_wrapped(model, directory):
    save(model, directory / "latent.npz")


def summary(model):
    kernel = model.quantized()
    step = None if model.bits is None else model.step()
    row = {"layer": "logits", "shape": list(kernel.shape), "bits": model.bits or 32}
    row |= {"zeros": float((kernel == 0).mean()), "step": step}
    return f"logits: {row['bits']} bits", [row]


def together(teachers, distillation=None):
    return lambda images: np.mean([teacher(images) for teacher in teachers], axis=0)


def view_logits(teacher, split, augmentation):
    def answer(view, first, last):
        rows = np.arange(first, last)
        return teacher(show(split, rows, FIXED_VIEWS_SEED, view, augmentation))

    return answer


def training_batches(split, **options):
    raise NotImplementedError


def map_logits(file, count, classes):
    return np.fromfile(file, "<f2").reshape(count, classes)


def network(model, build):
    return Network(model.name, (), build, OPS, None)


def taught(student, teachers, kept, distillation, terms=()):
    return Taught(student, list(teachers), kept, distillation)


def trainer(model, fitting, data):
    return Trainer(model, fitting, data)


def logs(directory, profile):
    return []


def logits(model, images):
    return model(images).astype(np.float32)


def open(path):
    model = load(path)
    return Opened(model.image_shape, model, LOGITS)


def pixels(images):
    return images.reshape(len(images), -1).astype(np.float32) / 255


def softmax(values):
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def show(split, rows, seed, view, augmentation):
    """The images of a view, cropped and mirrored."""
    images = split.images[rows]
    if augmentation == Augmentation.NONE:
        return images
    padding, offsets = augmentation.padding, 2 * augmentation.padding + 1
    drawn = draw_numbers(seed, view, rows, augmentation.views, NUMPY).astype(int)
    flips, cells = np.divmod(drawn, offsets**2)
    padded = np.pad(images, [(0, 0), (padding, padding), (padding, padding), (0, 0)])
    height, width = images.shape[1:3]
    shown = np.empty_like(images)
    for row, (image, flip, cell) in enumerate(zip(padded, flips, cells, strict=True)):
        crop = image[cell // offsets :, cell % offsets :][:height, :width]
        shown[row] = crop[:, ::-1] if flip else crop
    return shown


class Watched:
    """Notes the first step whose loss is not finite."""

    def __init__(self, title, steps, model):
        self._title, self._steps, self._model = title, steps, model
        self.bad = None

    def require_none(self):
        if self.bad is not None:
            epoch, step = divmod(self.bad, self._steps)
            raise ValueError(
                f"The loss must stay finite. Received: nan in step {step + 1} of epoch {epoch + 1} of the "
                f"{self._title}. Lower its learning rate."
            )

    def require_finite_weights(self, where):
        if not all(np.isfinite(weight).all() for weight in self._model.weights()):
            raise ValueError(f"The weights must stay finite after {where} of the {self._title}.")


def _save(path, **arrays):
    np.savez(path, **arrays)
    _checksum(path).write_text(file_digest(path))


def _checksum(path):
    return path.with_suffix(".sha256")


@dataclasses.dataclass
class View:
    """What methods see: a network without batch norm, or steps that follow its weights."""

    epochs: int

    def requantize(self):
        pass

    def settle_batch_norm(self, augmented):
        pass


class Trainer:
    """Momentum SGD on the cross-entropy, mixed with a teacher's by the coefficient."""

    whole_epochs = False

    def __init__(self, network, fitting, data):
        self.is_taught = isinstance(network, Taught)
        self._taught = network if self.is_taught else None
        self._model = network.student if self.is_taught else network
        self._fitting, self._data = fitting, data
        self._velocities = [np.zeros_like(weight) for weight in self._model.weights()]
        self._step, self._sums = 0, {}
        self.divergence = Watched(fitting.title, fitting.steps, self._model)

    @property
    def view(self):
        return View(self._fitting.epochs)

    def write_state(self, directory):
        arrays = dict(zip(("kernel", "bias"), self._model.weights(), strict=True))
        arrays |= dict(zip(("kernel_v", "bias_v"), self._velocities, strict=True))
        _save(directory / "state.npz", step=self._step, **arrays)

    def read_state(self, directory):
        with np.load(directory / "state.npz") as file:
            if file["kernel"].shape != self._model.kernel.shape:
                raise ForeignStateError(f"a kernel of {file['kernel'].shape}")
            self._step = int(file["step"])
            self._model.kernel, self._model.bias = file["kernel"], file["bias"]
            self._velocities = [file["kernel_v"], file["bias_v"]]

    def damage(self, directory, *, has_averages):
        for name in ("state.npz", "averages.npz")[: 1 + has_averages]:
            file = directory / name
            if not file.exists() or _checksum(file).read_text() != file_digest(file):
                return f"{name} is not what was written"
        return ""

    def write_averages(self, directory):
        _save(directory / "averages.npz", **self._sums)

    def read_averages(self, directory):
        with np.load(directory / "averages.npz") as file:
            self._sums = {name: float(file[name]) for name in file.files}

    def finish(self):
        pass

    def fit(self, start, teacher_logits, watchers):
        fitting, steps = self._fitting, self._fitting.steps
        schedulers = [each for each in watchers if isinstance(each, Scheduler)]
        watchers = [each for each in watchers if each is not None and each not in schedulers]
        plans = [each.plan(fitting.epochs, steps) for each in schedulers]
        _tell(watchers, "on_train_begin")
        for epoch in range(start.epoch, fitting.epochs):
            first = start.step if epoch == start.epoch else 0
            self._sums = {}
            _tell(watchers, "on_epoch_begin", epoch)
            order = draw_order(fitting.seed, epoch, np.arange(len(self._data.train)), NUMPY)
            for step in range(first, steps):
                coefficient = [
                    p.values[epoch * steps + step if p.by_step else epoch] for p in plans
                ]
                rows = order[step * fitting.batch_size :][: fitting.batch_size]
                self._make_step(epoch, rows, teacher_logits, *coefficient)
                _tell(watchers, "on_train_batch_end", step, self._means())
            found = {**self._means(), **self._validated(), "learning_rate": self._rate()}
            _tell(watchers, "on_epoch_end", epoch, found)
            if any(getattr(each, "stops", False) for each in watchers):
                break
        _tell(watchers, "on_train_end")

    def _make_step(self, epoch, rows, teacher_logits, coefficient=0.0):
        fitting, model, split = self._fitting, self._model, self._data.train
        view = epoch % fitting.fixed_views if fitting.fixed_views else epoch
        seed = FIXED_VIEWS_SEED if fitting.fixed_views else fitting.seed
        images = show(split, rows, seed, view, fitting.augmentation)
        labels = np.eye(len(model.bias), dtype=np.float32)[split.labels[rows]]
        said = model(images)
        hard = -np.log(softmax(said)[labels == 1]).mean()
        pull, found = softmax(said) - labels, {"loss": hard}
        if self.is_taught:
            pull = pull * (1 - coefficient)
            found |= {"hard_loss": hard, "coefficient": coefficient}
        if self.is_taught and (self._taught.kept or self._taught.teachers):
            answers = (
                teacher_logits[view][rows].astype(np.float32)
                if self._taught.kept
                else together(self._taught.teachers)(images)
            )
            temperature = self._taught.settings.temperature
            targets, softened = softmax(answers / temperature), softmax(said / temperature)
            soft = -(targets * np.log(softened)).sum(axis=1).mean() * temperature**2
            pull = pull + coefficient * temperature * (softened - targets)
            found["loss"] = (1 - coefficient) * hard + coefficient * soft
            found |= {"soft_loss": soft, "temperature": temperature}
        found["accuracy"] = (said.argmax(1) == split.labels[rows]).mean()
        if not np.isfinite(found["loss"]) and self.divergence.bad is None:
            self.divergence.bad = self._step
        inputs = pixels(images)
        self._descend([inputs.T @ pull / len(rows), pull.mean(axis=0)])
        for name, value in {**found, "count": 1}.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(value)
        for name in ("coefficient", "temperature"):
            if name in found:
                # What is set, not measured: the last value stands for the epoch.
                self._sums[name] = float(found[name]) * self._sums["count"]

    def _descend(self, gradients):
        rate, momentum = np.float32(self._rate()), np.float32(self._fitting.momentum)
        for number, gradient in enumerate(gradients):
            self._velocities[number] = momentum * self._velocities[number] - rate * gradient
        self._model.kernel = self._model.kernel + self._velocities[0]
        self._model.bias = self._model.bias + self._velocities[1]
        self._step += 1

    def _rate(self):
        fitting, total = self._fitting, self._fitting.epochs * self._fitting.steps
        passed = sum(self._step >= first_behind(share, total) for share in fitting.milestones)
        if fitting.learning_rate_schedule == "cosine":
            return fitting.learning_rate * (1 + np.cos(np.pi * self._step / total)) / 2
        return fitting.learning_rate * fitting.learning_rate_factor**passed

    def _means(self):
        sums = dict(self._sums)
        count = sums.pop("count")
        return {name: value / count for name, value in sums.items()}

    def _validated(self):
        split = self._data.validation
        if split is None:
            return {}
        said = self._model(split.images)
        return {"val_accuracy": float((said.argmax(1) == split.labels).mean())}


def _tell(watchers, moment, *arguments):
    for watcher in watchers:
        getattr(watcher, moment)(*arguments)
