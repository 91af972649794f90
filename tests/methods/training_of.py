"""A small training of the tfmot front under methods, as a stage makes it."""

import dataclasses
import functools

import numpy as np

from tfqkd.core.policy import LayerPolicy
from tfqkd.core.schedules import Constant
from tfqkd.core.schemes import Scheme, TernaryScheme
from tfqkd.data.augmentation import Augmentation
from tfqkd.data.images import ImageData, Split
from tfqkd.fronts.settings import Distillation, Fitting, Quantization
from tfqkd.fronts.tfmot import front
from tfqkd.fronts.trainer import Position, Watcher
from tfqkd.methods.hooks import Hooks, terms_of

CLASSES = 3
START = Position(0, 0)
FITTING = Fitting(
    title="a student",
    epochs=4,
    steps=3,
    batch_size=8,
    seed=5,
    augmentation=Augmentation.NONE,
    fixed_views=0,
    learning_rate=0.05,
    learning_rate_schedule="cosine",
    learning_rate_factor=0.1,
    milestones=(),
    warmup_epochs=0.0,
    momentum=0.9,
    weight_decay=1e-3,
    label_smoothing=0.0,
    synchronized_batch_norm=False,
    jit_compile=False,
    steps_per_execution=1,
)
DISTILLATION = Distillation(
    temperature=2.0,
    coefficient=Constant(0.5),
    coefficient_on=None,
    soft_loss="kl",
    soft_weight=1.0,
    scale_by_temperature_squared=True,
)


def data() -> ImageData:
    generator = np.random.default_rng(3)
    split = Split(
        generator.integers(0, 255, (24, 6, 6, 1), dtype=np.uint8), np.arange(24) % CLASSES
    )
    return ImageData("noise", tuple("abc"), split, None, split)


def network(seed: int, filters: int = 4, dropout: bool = False):
    from tfqkd.compat import keras

    keras.utils.set_random_seed(seed)
    layers = keras.layers
    image = keras.Input((6, 6, 1))
    x = layers.Rescaling(1 / 255)(image)
    x = layers.Conv2D(filters, 3, padding="same", name="first")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.ReLU(name="early")(x)
    x = layers.Conv2D(filters, 3, strides=2, padding="same", name="second")(x)
    x = layers.ReLU(name="late")(x)
    x = layers.Dropout(0.3)(x) if dropout else x
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(CLASSES, name="logits")(x), name=f"net{filters}")


class Noted(Watcher):
    """Notes the logs of every epoch, and calls `look` with the number of the epoch."""

    def __init__(self, look=lambda epoch: None):
        self.logs, self._look = [], look

    def on_epoch_end(self, epoch, logs):
        self.logs.append({name: float(value) for name, value in logs.items()})
        self._look(epoch)


@dataclasses.dataclass
class Training:
    """A student under methods, ready to train."""

    methods: tuple
    scheme: Scheme = dataclasses.field(default_factory=TernaryScheme)
    teacher: object = None
    distils: bool = False
    distillation: Distillation = DISTILLATION
    fitting: Fitting = FITTING
    layers: LayerPolicy = None
    dropout: bool = False

    def __post_init__(self):
        fitting, quantization = (
            self.fitting,
            Quantization(scheme=self.scheme, layers=self.layers, gradual_shares=()),
        )
        for method in self.methods:
            fitting = method.fitting(fitting)
            quantization = method.quantization(quantization)
        model = network(1, dropout=self.dropout)
        for method in self.methods:
            model = method.model(front, model)
        self.student = front.quantize(model, quantization)
        teachers = [] if self.teacher is None else [self.teacher]
        teachers = list(self.teacher) if isinstance(self.teacher, tuple) else teachers
        twin = functools.partial(front.quantize, network(2), quantization)
        terms = terms_of(self.methods, front, self.student, teachers, self._build, twin)
        trained = self.student
        if terms or self.distils:
            how = self.distillation if self.distils else None
            trained = front.taught(self.student, teachers, False, how, terms)
        self.network = trained
        self.trainer = front.trainer(trained, fitting, data())
        self.hooks = Hooks(self.methods, self.trainer.view)
        self.callbacks = front.quantization_callbacks(quantization)
        self.epochs = fitting.epochs

    def _build(self, name, seed):
        return network(seed) if name is None else network(seed, int(name))

    def run(self, start=START, look=lambda epoch: None) -> Noted:
        """Trains to the end; `look` is called behind the hooks of every epoch."""
        noted = Noted(look)
        self.trainer.fit(start, (), [*self.callbacks, self.hooks, noted])
        self.hooks.finish()
        return noted

    def weights(self) -> list[np.ndarray]:
        return self.student.get_weights()


def assert_same(weights, others):
    for weight, other in zip(weights, others, strict=True):
        np.testing.assert_array_equal(weight, other)


def resumed(make, directory, behind: int) -> Training:
    """Returns a training that went on from what another one wrote behind an epoch."""
    first = make()

    def write(epoch):
        if epoch == behind:
            first.trainer.write_state(directory)

    first.run(look=write)
    second = make()
    second.trainer.read_state(directory)
    second.run(Position(behind + 1, 0))
    return second
