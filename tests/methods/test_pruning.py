import dataclasses

import numpy as np
import pytest
from export.in_process import files_run_here

import tfqkd
from methods.training_of import FITTING, Training, assert_same, data, resumed
from tests.parameters import some
from tfqkd.core.clustered import ClusteredQuantizer
from tfqkd.core.composite import FloatQuantizer
from tfqkd.core.pruned import PrunedQuantizer
from tfqkd.core.quantizers import DorefaQuantizer, LsqQuantizer, TwnQuantizer, UniformQuantizer
from tfqkd.core.schemes import Scheme, UniformScheme
from tfqkd.fronts.tfmot import front
from tfqkd.fronts.tfmot.model import quantized_kernels
from tfqkd.methods.clustering import Clustering
from tfqkd.methods.ema import Ema
from tfqkd.methods.filters import Filters
from tfqkd.methods.pruning import Pruning
from tfqkd.methods.sqwa import Sqwa

FLOAT = Scheme(FloatQuantizer())
ALL = {"layers": "first|second"}
METHOD = Pruning(sparsity=0.6, end=0.5)


def zeros(training):
    return [kernel.state["mask"].read() == 0 for kernel in training.trainer.view.kernels]


def stripped(training):
    model = front.strip(training.student)
    return [
        model.get_layer(kernel.layer).kernel.numpy()
        for kernel in quantized_kernels(training.student)
    ]


def test_the_sparsity_rises_as_published_and_only_the_smallest_go():
    training = Training((Pruning(sparsity=0.6, first=0.2, end=0.75),), scheme=FLOAT, **ALL)
    seen = [[mask.mean() for mask in zeros(training)]]
    training.run(look=lambda epoch: seen.append([mask.mean() for mask in zeros(training)]))
    for epoch in range(4):
        s = 0.6 + (0.2 - 0.6) * (1 - epoch / 4 / 0.75) ** 3
        for kernel, share in zip(training.trainer.view.kernels, seen[epoch], strict=True):
            size = kernel.latent.read().size
            assert share == round(s * size) / size
    # Behind the last epoch nothing changes any more.
    assert seen[4] == seen[3]
    assert (
        METHOD.sparsity_at(0.0) == 0.0 and METHOD.sparsity_at(0.5) == METHOD.sparsity_at(1.0) == 0.6
    )
    late = Pruning(sparsity=0.6, begin=0.25)
    assert late.sparsity_at(0.2) == 0.0 < late.sparsity_at(0.3) < 0.6


KINDS = {
    "float": (FLOAT, ()),
    "ternary": (UniformScheme(2), ()),
    "follows": (UniformScheme(4, "channel", "every_step"), ()),
    "lsq": (Scheme(LsqQuantizer(2)), ()),
    "twn": (Scheme(TwnQuantizer()), ()),
    "average": (UniformScheme(2), (Ema(momentum=0.9),)),
    "sqwa": (UniformScheme(2), (Sqwa(captures=2, cycle_epochs=1, fine_tune_share=0.25),)),
    "clusters": (UniformScheme(8), (Clustering(clusters=6),)),
}


@pytest.mark.parametrize("kind", some(KINDS, "ternary", "average", "clusters"))
def test_zeros_stay_zeros_through_training_averages_and_quantization(kind):
    scheme, others = KINDS[kind]
    # Decay and momentum pull at them.
    hard = dataclasses.replace(FITTING, weight_decay=0.1)
    training = Training((METHOD, *others), scheme=scheme, fitting=hard, **ALL)
    training.run()
    for zero, kernel in zip(zeros(training), stripped(training), strict=True):
        assert zero.sum() == round(0.6 * zero.size)
        assert (kernel[zero] == 0).all() and kernel.any()


def test_sparsity_zero_is_the_plain_training_bit_for_bit():
    plain, off = (Training(m, **ALL) for m in ((), (Pruning(sparsity=0.0),)))
    plain.run()
    off.run()
    assert_same(stripped(plain), stripped(off))
    assert_same(
        [v.numpy() for v in plain.student.trainable_variables],
        [v.numpy() for v in off.student.trainable_variables],
    )


def test_it_goes_on_to_the_bit_and_steps_of_one_call_change_nothing(tmp_path):
    methods, scheme = (METHOD, Clustering(clusters=6)), UniformScheme(8)
    whole = Training(methods, scheme=scheme, **ALL)
    whole.run()
    again = resumed(lambda: Training(methods, scheme=scheme, **ALL), tmp_path, 1)
    assert_same(whole.weights(), again.weights())
    together = dataclasses.replace(FITTING, steps_per_execution=3)
    three = Training(methods, scheme=scheme, fitting=together, **ALL)
    three.run()
    for weight, same in zip(stripped(whole), stripped(three), strict=True):
        np.testing.assert_allclose(weight, same, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("bits", "scheme"), [(32, FLOAT), (8, UniformScheme(8))])
def test_kernels_have_k_values_at_the_end(bits, scheme):
    training = Training((Clustering(clusters=5),), scheme=scheme, **ALL)
    before = [kernel.latent.read() for kernel in training.trainer.view.kernels]
    training.run()
    for first, kernel in zip(before, training.trainer.view.kernels, strict=True):
        assert np.abs(first - kernel.latent.read()).max() > 1e-3
    for kernel in stripped(training):
        assert 3 <= len(np.unique(kernel)) <= 5


@pytest.mark.parametrize("bits", [2, 32])
def test_every_format_keeps_zeros_and_clusters(tmp_path, bits):
    inner = FloatQuantizer() if bits == 32 else UniformQuantizer(bits)
    inner = inner if bits == 2 else ClusteredQuantizer(inner, 6)
    model = front.build("cnn4", (8, 8, 1), 5, mean=[120.0], std=[60.0], seed=1)
    quantized = tfqkd.quantize_model(model, Scheme(PrunedQuantizer(inner, 0.7)))
    _, rows = front.summary(quantized)
    assert [row["bits"] for row in rows] == [32, bits, bits, 32]
    assert [row["zeros"] for row in rows][1:3] == pytest.approx([0.7, 0.7], abs=0.05 + (bits == 2))
    kernels = [
        layer.kernel.numpy() for layer in front.strip(quantized).layers if "conv" in layer.name
    ]
    # ONNX's file holds kernels by name; LiteRT's are read back against the model before they appear.
    formats = "litert-float32,litert-int8,litert-int2,onnx-float32,onnx-int2"
    images = data().train.images[:4].repeat(2, 1)[:, :8].repeat(2, 2)[:, :, :8]
    with files_run_here():
        reports = tfqkd.export.export(quantized, tmp_path, formats, images=images)
    assert len(reports) == 5
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(reports[3].path).graph
    held = [numpy_helper.to_array(each) for each in graph.initializer]
    for kernel in kernels[1:]:
        (same,) = [
            each
            for each in held
            if each.ndim == 4 and each.transpose(2, 3, 1, 0).shape == kernel.shape
        ]
        same = same.transpose(2, 3, 1, 0)
        assert (same[kernel == 0] == 0).all()


def test_a_stage_may_begin_without_its_weakest_filters():
    model = front.build("cnn4", (8, 8, 1), 5, mean=[120.0], std=[60.0], seed=1)
    narrow = Filters(share=0.25).model(front, model)
    assert [narrow.get_layer(f"conv{n}").filters for n in (1, 2, 3)] == [3, 6, 6]
    assert front.facts(narrow).output_shape == (5,)


@pytest.mark.parametrize(
    "method",
    [
        lambda: Pruning(sparsity=1.0),
        lambda: Pruning(first=0.6),
        lambda: Pruning(begin=0.6),
        lambda: Clustering(clusters=65),
        lambda: Filters(share=1.0),
        lambda: Filters(norm="l3"),
    ],
)
def test_settings_out_of_range_are_refused(method):
    with pytest.raises(ValueError, match=r"`\w+\.\w+` must be"):
        method()


def test_what_they_cannot_do_is_refused():
    with pytest.raises(ValueError, match=r"must leave an epoch.*pruning.end=0.9 of 4"):
        Training((Pruning(end=0.9),))
    with pytest.raises(ValueError, match="quantizer that has zero"):
        Training((METHOD,), scheme=Scheme(DorefaQuantizer(2)))
    with pytest.raises(ValueError, match="Received: 2 bits"):
        Training((Clustering(),))
