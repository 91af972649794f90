"""What holds for every method with a term: all of them in one training, for they go together."""

import dataclasses
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from methods.training_of import FITTING, Training, assert_same, network
from tfqkd.core.activations import LsqActivationQuantizer
from tfqkd.core.quantizers import UniformQuantizer
from tfqkd.core.schemes import Scheme
from tfqkd.fronts.trainer import Position
from tfqkd.methods import NAMES, find
from tfqkd.methods.attention import Attention
from tfqkd.methods.fsp import Fsp
from tfqkd.methods.hints import Hints
from tfqkd.methods.interactive import Interactive
from tfqkd.methods.latent import Latent
from tfqkd.methods.mutual import Mutual
from tfqkd.methods.past_self import PastSelf
from tfqkd.methods.rkd import Rkd
from tfqkd.methods.speq import Speq

METHODS = (
    Attention(weight=2.0),
    Hints(weight="balanced:0.3"),
    Mutual(weight=0.5),
    PastSelf(weight=0.5),
    Rkd(weight="balanced:0.5"),
    Fsp(weight=3.0),
    Speq(weight=0.5),
    Latent(weight=0.5),
    # Its state loss reaches no student, and the message loss has a weight of its own.
    Interactive(weight=0.1, message_weight=0.0),
)
SCHEME = Scheme(UniformQuantizer(2), LsqActivationQuantizer(2))
TOGETHER = dataclasses.replace(FITTING, steps_per_execution=3)


def training(methods=METHODS, fitting=TOGETHER):
    return Training(methods, scheme=SCHEME, teacher=network(9), fitting=fitting)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A training to the end that wrote its state behind the second epoch, and its logs."""
    directory, first = tmp_path_factory.mktemp("state"), training()

    def write(epoch):
        if epoch == 1:
            first.trainer.write_state(directory)

    return directory, first, first.run(look=write).logs


def test_all_with_terms_are_here():
    with_terms = {name for name in NAMES if "terms" in find(name).needs}
    assert with_terms <= {method.name for method in METHODS}


@pytest.mark.slow
def test_without_weight_they_are_the_plain_run_to_the_bit():
    nothing = [dataclasses.replace(method, weight=0.0) for method in METHODS]
    one, other = training((), FITTING), training(nothing, FITTING)
    one.run()
    other.run()
    assert_same(one.weights(), other.weights())


@pytest.mark.slow
def test_they_go_on_to_the_bit_from_what_is_kept(whole):
    directory, first, _ = whole
    again = training()
    again.trainer.read_state(directory)
    again.run(Position(2, 0))
    assert_same(first.weights(), again.weights())
    for one, other in zip(first.network.beside, again.network.beside, strict=True):
        assert_same(one.get_weights(), other.get_weights())
    found, kept = (each.network.balances.variables for each in (first, again))
    assert all(float(kept[name]) == float(found[name]) > 0 for name in found)


@pytest.mark.slow
def test_steps_of_one_call_change_nothing(whole):
    _, first, logs = whole
    single = training(fitting=FITTING)
    for together, alone in zip(logs, single.run().logs, strict=True):
        assert together == pytest.approx(alone, rel=1e-4, abs=1e-6)
    for weight, same in zip(first.weights(), single.weights(), strict=True):
        np.testing.assert_allclose(weight, same, rtol=1e-4, atol=1e-5)


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from tfqkd.compat import tf
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import numpy as np
from methods.test_every_method import training
two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with two.scope():
    trained = training()
    logs = trained.run().logs
# Averages of batch norm are each replica's own.
for variable in [v for each in (trained.student, *trained.network.beside) for v in each.trainable_variables]:
    one, other = (np.float64(each) for each in two.experimental_local_results(variable))
    np.testing.assert_array_equal(one, other, err_msg=variable.name)
for variable in trained.network.balances.variables.values():
    one, other = (float(each) for each in two.experimental_local_results(variable))
    assert one == other > 0, variable.name
assert all(np.isfinite(value) for each in logs for value in each.values()), logs
"""


@pytest.mark.slow
def test_two_replicas_train_one_student():
    tests = pathlib.Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tests)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
