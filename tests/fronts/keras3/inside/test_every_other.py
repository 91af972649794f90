"""What holds for every soft loss, every combination of teachers, and every method without a term.

Those with a term train together in `test_terms.py`; each of these is a training of its own.
"""

import dataclasses

import numpy as np
import pytest

from tests.fronts.keras3.inside.nets import BACKEND, array
from tests.fronts.keras3.inside.test_terms import FITTING, FRONT, START, Noted, data, network
from tests.fronts.keras3.inside.test_training import two_devices
from tfqkd.core.combining import COMBINATIONS
from tfqkd.core.losses import CLASS_LOSSES
from tfqkd.core.quantizers import DorefaQuantizer
from tfqkd.core.schedules import Constant
from tfqkd.core.schemes import Scheme, UniformScheme
from tfqkd.fronts.settings import Distillation, Quantization
from tfqkd.fronts.trainer import Position
from tfqkd.methods import NAMES, find
from tfqkd.methods.batch_norm import BatchNorm
from tfqkd.methods.clustering import Clustering
from tfqkd.methods.ema import Ema
from tfqkd.methods.filters import Filters
from tfqkd.methods.gradient_rounding import GradientRounding
from tfqkd.methods.gradual import Gradual
from tfqkd.methods.hooks import Hooks
from tfqkd.methods.pruning import Pruning
from tfqkd.methods.sqwa import Sqwa

pytestmark = pytest.mark.slow

TERNARY = UniformScheme(2)
FOUR = dataclasses.replace(FITTING, epochs=4, synchronized_batch_norm=True)
ONE = dataclasses.replace(FOUR, epochs=1)
HOW = Distillation(
    temperature=2.0, coefficient=Constant(0.5), coefficient_on=None, soft_loss="kl", soft_weight=1.0
)
ALONE = {
    "ema": ((Ema(momentum=0.9),), TERNARY),
    "batch_norm": ((BatchNorm(images="plain"),), TERNARY),
    "gradual widths": ((Gradual(bits=(8, 4)),), TERNARY),
    "gradual shares": ((Gradual(share=(0.5,)),), TERNARY),
    "gradient_rounding": ((GradientRounding(bits=4),), Scheme(DorefaQuantizer(2))),
    "sqwa": ((Sqwa(captures=2, cycle_epochs=1, fine_tune_share=0.25),), TERNARY),
    "zeros": ((Pruning(sparsity=0.6), Clustering(clusters=6)), UniformScheme(8)),
    "filters": ((Filters(share=0.5),), TERNARY),
}
APART = {"gradient_rounding", "dist"} if BACKEND == "tensorflow" else set()
"""What several replicas of TensorFlow do not train as one device does; on JAX a batch stays one."""


class Training:
    """A student under methods, or taught by a soft loss, as a stage makes it."""

    def __init__(self, methods=(), scheme=TERNARY, how=None, seeds=(9,), fitting=FOUR):
        quantization = Quantization(scheme=scheme, layers=None, gradual_shares=())
        model = network(1)
        for method in methods:
            fitting, model = method.fitting(fitting), method.model(FRONT, model)
            quantization = method.quantization(quantization)
        self.student = self.network = FRONT.quantize(model, quantization)
        if how:
            teachers = [network(seed) for seed in seeds]
            self.network = FRONT.taught(self.student, teachers, False, how)
        self.trainer = FRONT.trainer(self.network, fitting, data())
        self.watchers = [
            *FRONT.quantization_callbacks(quantization),
            Hooks(methods, self.trainer.view),
        ]

    def run(self, start=START, look=lambda epoch: None):
        noted = Noted(look)
        self.trainer.fit(start, (), [*self.watchers, noted])
        self.trainer.finish()
        self.watchers[-1].finish()
        return self.student.get_weights()


def taught(kind, **changes):
    others = {name: changes.pop(name) for name in ("seeds", "fitting") if name in changes}
    return Training(how=dataclasses.replace(HOW, soft_loss=kind, **changes), **others)


def kinds(soft_weight="balanced:1"):
    """What makes each training, by name."""
    losses = {
        kind: lambda kind=kind: taught(kind, soft_weight=soft_weight) for kind in CLASS_LOSSES
    }
    teachers = {
        f"teachers by {how}": lambda how=how: taught("kl", seeds=(9, 10), combine=how)
        for how in COMBINATIONS
    }
    alone = {
        name: lambda methods=methods, scheme=scheme: Training(methods, scheme)
        for name, (methods, scheme) in ALONE.items()
    }
    return losses | teachers | alone


@pytest.fixture(autouse=True)
def begun():
    """As a stage begins: outside of what says where to compute."""
    FRONT.start(1, "float32")


def same(weights, others):
    for weight, other in zip(weights, others, strict=True):
        np.testing.assert_array_equal(weight, other)


def test_all_without_terms_are_here():
    without = {name for name in NAMES if "terms" not in find(name).needs}
    assert without == {method.name for methods, _ in ALONE.values() for method in methods}


@pytest.mark.parametrize("kind", kinds())
def test_it_goes_on_to_the_bit(tmp_path, kind):
    whole = kinds()[kind]()
    first = whole.student.get_weights()
    expected = whole.run(look=lambda epoch: epoch == 1 and whole.trainer.write_state(tmp_path))
    FRONT.start(1, "float32")
    again = kinds()[kind]()
    again.trainer.read_state(tmp_path)
    found = again.run(Position(2, 0))
    same(expected, found)
    moved = [np.any(one != other) for one, other in zip(first, found, strict=True)]
    assert sum(moved) >= 5
    if kind in CLASS_LOSSES:
        weights = [float(each.network.balances.weights["soft_loss"]) for each in (whole, again)]
        assert weights[0] == weights[1] > 0


@pytest.fixture(scope="module")
def plain():
    """The weights of a student that nothing but labels taught."""
    return Training(fitting=ONE).run()


@pytest.fixture(scope="module")
def control():
    """Those of one whose loss on the labels has half its weight."""
    return taught("none", fitting=ONE).run()


@pytest.mark.parametrize("kind", CLASS_LOSSES)
def test_a_soft_loss_without_weight_is_the_plain_run_to_the_bit(plain, control, kind):
    same(plain, taught(kind, coefficient=Constant(0.0), fitting=ONE).run())
    same(control, taught(kind, soft_weight=0.0, fitting=ONE).run())


@pytest.mark.parametrize("how", COMBINATIONS)
def test_teachers_without_weight_are_the_plain_run_to_the_bit(plain, how):
    several = {"seeds": (9, 10), "combine": how, "fitting": ONE}
    same(plain, taught("kl", coefficient=Constant(0.0), **several).run())


def test_no_filters_taken_out_and_no_zeros_are_the_plain_run_to_the_bit(plain):
    same(plain, Training((Filters(share=0.0),), fitting=ONE).run())
    kept = Training((Pruning(sparsity=0.0, end=0.0),), fitting=ONE)
    kept.run()
    trained = Training(fitting=ONE)
    trained.run()
    pairs = (each.student.trainable_variables for each in (trained, kept))
    for one, other in zip(*pairs, strict=True):
        np.testing.assert_array_equal(array(one.value), array(other.value))


@pytest.mark.parametrize("kind", kinds())
def test_two_devices_train_what_one_does(kind):
    # On TensorFlow balanced weights are refused with synchronized batch norm.
    make = kinds(soft_weight=1.0)[kind]
    one = make().run()
    FRONT.start(1, "float32")
    with two_devices() as begin, begin():
        both = make().run()
    apart = max(np.abs(np.float64(a) - b).max() for a, b in zip(one, both, strict=True))
    assert bool(apart < 1e-3) is (kind not in APART), apart


def test_synchronized_replicas_find_no_weights():
    if BACKEND != "tensorflow":
        pytest.skip("on JAX a batch stays one; Keras does not distribute on PyTorch")
    with two_devices() as begin, begin(), pytest.raises(ValueError, match="2 replicas with sync"):
        kinds()["kl"]().run()
    apart = dataclasses.replace(FOUR, synchronized_batch_norm=False)
    FRONT.start(1, "float32")
    with two_devices() as begin, begin():
        training = taught("kl", soft_weight="balanced:1", fitting=apart)
        training.run()
        assert float(training.network.balances.weights["soft_loss"]) > 0
