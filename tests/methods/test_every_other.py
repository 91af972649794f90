"""What holds for every soft loss, every combination of teachers, and every method without a term.

Those with a term train together in `test_every_method.py`; each of these is a training of its own.
"""

import dataclasses

import numpy as np
import pytest

from methods.training_of import DISTILLATION, FITTING, Training, assert_same, network, resumed
from tfqkd.core.combining import COMBINATIONS
from tfqkd.core.losses import CLASS_LOSSES
from tfqkd.core.quantizers import DorefaQuantizer
from tfqkd.core.schedules import Constant
from tfqkd.core.schemes import Scheme, UniformScheme
from tfqkd.methods import NAMES, find
from tfqkd.methods.batch_norm import BatchNorm
from tfqkd.methods.clustering import Clustering
from tfqkd.methods.ema import Ema
from tfqkd.methods.filters import Filters
from tfqkd.methods.gradient_rounding import GradientRounding
from tfqkd.methods.gradual import Gradual
from tfqkd.methods.pruning import Pruning
from tfqkd.methods.sqwa import Sqwa

SHORT = dataclasses.replace(FITTING, epochs=1)
ALONE = {
    "ema": ((Ema(momentum=0.9),), UniformScheme(2)),
    "batch_norm": ((BatchNorm(images="plain"),), UniformScheme(2)),
    "gradual widths": ((Gradual(bits=(8, 4)),), UniformScheme(2)),
    "gradual shares": ((Gradual(share=(0.5,)),), UniformScheme(2)),
    "gradient_rounding": ((GradientRounding(bits=4),), Scheme(DorefaQuantizer(2))),
    "sqwa": ((Sqwa(captures=2, cycle_epochs=1, fine_tune_share=0.25),), UniformScheme(2)),
    "zeros": ((Pruning(sparsity=0.6), Clustering(clusters=6)), UniformScheme(8)),
    "filters": ((Filters(share=0.5),), UniformScheme(2)),
}
LEARNS_ALONE = {
    # Each replica rounds with noise of its own.
    "gradient_rounding",
    # Its correlations within a class are over the examples that are computed together.
    "dist",
}
"""What several replicas do not train as one device does."""


def taught(kind, fitting=FITTING, teachers=None, **how):
    """A training with a soft loss; the teacher is of the student's size, so that nothing is refused."""
    distillation = dataclasses.replace(DISTILLATION, soft_loss=kind, **how)
    return Training(
        (),
        UniformScheme(2),
        teacher=teachers or network(9),
        distils=True,
        distillation=distillation,
        fitting=fitting,
    )


def kinds(fitting=FITTING, soft_weight="balanced:1"):
    """What makes each training, by name."""
    losses = {
        kind: lambda kind=kind: taught(kind, fitting, soft_weight=soft_weight)
        for kind in CLASS_LOSSES
    }
    teachers = {
        f"teachers by {how}": lambda how=how: taught(
            "kl", fitting, (network(9), network(10)), combine=how
        )
        for how in COMBINATIONS
    }
    alone = {
        name: lambda methods=methods, scheme=scheme: Training(methods, scheme, fitting=fitting)
        for name, (methods, scheme) in ALONE.items()
    }
    return losses | teachers | alone


def test_all_without_terms_are_here():
    without = {name for name in NAMES if "terms" not in find(name).needs}
    assert without == {method.name for methods, _ in ALONE.values() for method in methods}


@pytest.mark.slow
@pytest.mark.parametrize("kind", kinds())
def test_it_goes_on_to_the_bit(tmp_path, kind):
    make = kinds()[kind]
    whole = make()
    first = whole.weights()
    whole.run()
    again = resumed(make, tmp_path, behind=1)
    assert_same(whole.weights(), again.weights())
    moved = [np.any(one != other) for one, other in zip(first, again.weights(), strict=True)]
    assert sum(moved) >= 5
    if kind in CLASS_LOSSES:
        found, kept = (each.network.balances.variables["soft_loss"] for each in (whole, again))
        assert float(kept) == float(found) > 0


@pytest.fixture(scope="module")
def plain():
    """The weights of a student that nothing but labels taught."""
    training = Training((), UniformScheme(2), fitting=SHORT)
    training.run()
    return training.weights()


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(each, marks=[] if each in ("dkd", "dist") else pytest.mark.slow)
        for each in CLASS_LOSSES
    ],
)
def test_a_soft_loss_without_weight_is_the_plain_run_to_the_bit(plain, kind):
    unweighted = taught(kind, SHORT, coefficient=Constant(0.0))
    unweighted.run()
    assert_same(plain, unweighted.weights())


@pytest.mark.slow
@pytest.mark.parametrize("kind", CLASS_LOSSES)
def test_a_soft_loss_of_weight_zero_is_its_control_to_the_bit(kind):
    control, unweighted = taught("none", SHORT), taught(kind, SHORT, soft_weight=0.0)
    control.run()
    unweighted.run()
    assert_same(control.weights(), unweighted.weights())


@pytest.mark.slow
@pytest.mark.parametrize("how", COMBINATIONS)
def test_teachers_without_weight_are_the_plain_run_to_the_bit(plain, how):
    several = (network(9), network(10))
    unweighted = taught("kl", SHORT, several, combine=how, coefficient=Constant(0.0))
    unweighted.run()
    assert_same(plain, unweighted.weights())


def test_no_filters_taken_out_are_the_plain_run_to_the_bit(plain):
    training = Training((Filters(share=0.0),), UniformScheme(2), fitting=SHORT)
    training.run()
    assert_same(plain, training.weights())
