import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from methods.training_of import FITTING, Training, assert_same, data
from tfqkd.core.gradual import GradualQuantizer
from tfqkd.core.quantizers import DorefaQuantizer
from tfqkd.core.schemes import Scheme, TernaryScheme, UniformScheme
from tfqkd.fronts.settings import METHOD_NEEDS, Capabilities, Quantization
from tfqkd.fronts.tfmot.batch_norm import reestimate_batch_norm
from tfqkd.methods import NAMES, find
from tfqkd.methods.batch_norm import BatchNorm
from tfqkd.methods.ema import Ema
from tfqkd.methods.gradient_rounding import GradientRounding
from tfqkd.methods.gradual import Gradual
from tfqkd.methods.hooks import require_capable
from tfqkd.methods.method import require_together
from tfqkd.methods.sqwa import Sqwa


@pytest.mark.parametrize("name", NAMES)
def test_a_method_is_found_by_its_name_and_needs_what_fronts_declare(name):
    kind = find(name)
    assert kind.name == name
    assert kind.needs <= set(METHOD_NEEDS)
    assert kind.excludes <= set(NAMES)


def test_listing_them_imports_none():
    code = "import sys, tfqkd.methods; print(not {'tensorflow', 'tfqkd.methods.sqwa'} & set(sys.modules))"
    listed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert listed.stdout.strip() == "True"


def test_what_does_not_go_together_is_refused():
    with pytest.raises(ValueError, match="sqwa with ema"):
        require_together([Sqwa(), Ema()])
    with pytest.raises(ValueError, match="must differ"):
        require_together([Ema(), Ema(momentum=0.5)])
    with pytest.raises(ValueError, match="must be one of ema"):
        find("emma")
    nothing = Capabilities(frozenset(), frozenset(), deterministic=True, jit_compile=False)
    with pytest.raises(ValueError, match="method ema needs a front that has average"):
        require_capable([Ema()], nothing)


def test_a_moving_average_replaces_the_weights():
    fitting = dataclasses.replace(FITTING, epochs=2, momentum=0.0, weight_decay=0.0)
    plain, averaged = Training((), fitting=fitting), Training((Ema(momentum=0.9),), fitting=fitting)
    expected = [variable.numpy() for variable in plain.student.trainable_variables]
    steps = []

    class EachStep:
        def on_train_batch_end(self, batch, logs=None):
            steps.append([variable.numpy() for variable in plain.student.trainable_variables])

    from tfqkd.fronts.trainer import Position, Watcher

    watcher = type("EachStep", (Watcher,), {"on_train_batch_end": EachStep.on_train_batch_end})()
    plain.trainer.fit(Position(0, 0), (), [watcher])
    for weights in steps:
        expected = [0.9 * e + 0.1 * w for e, w in zip(expected, weights, strict=True)]
    averaged.run()
    for variable, value in zip(averaged.student.trainable_variables, expected, strict=True):
        np.testing.assert_allclose(variable.numpy(), value, rtol=1e-5, atol=1e-7)


def test_steps_that_follow_the_weights_follow_the_average():
    scheme = UniformScheme(2, step_update="every_step")
    training = Training((Ema(momentum=0.5),), scheme=scheme)
    training.run()
    from tfqkd.core.steps import optimal_step

    for kernel in training.trainer.view.kernels:
        best = optimal_step(kernel.latent.read(), 2)
        np.testing.assert_allclose(kernel.state["step"].read(), best, rtol=1e-6)


@pytest.mark.parametrize("images", ["augmented", "plain"])
def test_batch_norm_is_measured_anew_at_the_end(images):
    training = Training((BatchNorm(images=images),))
    training.run()
    measured = training.weights()
    reestimate_batch_norm(training.student, data().train.images.astype(np.float32))
    for one, other in zip(measured, training.weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_gradual_and_rounding_change_the_quantizer_alone():
    quantization = Quantization(scheme=TernaryScheme(), layers=None, gradual_shares=())
    gradual = Gradual(bits=(8, 4), share=(0.5,)).quantization(quantization)
    assert gradual.scheme.quantizer == GradualQuantizer(TernaryScheme().quantizer, (8, 4), True)
    assert gradual.gradual_shares == (0.5,)
    dorefa = dataclasses.replace(quantization, scheme=Scheme(DorefaQuantizer(2)))
    rounded = GradientRounding(bits=4).quantization(dorefa)
    assert rounded.scheme.quantizer == DorefaQuantizer(2, 4)
    with pytest.raises(ValueError, match="dorefa alone"):
        GradientRounding().quantization(quantization)
    with pytest.raises(ValueError, match="widths or shares"):
        Gradual()


def test_no_method_is_the_plain_training():
    one, other = Training(()), Training(())
    one.run()
    other.run()
    assert_same(one.weights(), other.weights())
    assert Ema().key() == {"method": "ema", "momentum": 0.99}
