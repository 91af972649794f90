import dataclasses
import itertools

import numpy as np
import pytest

from tests.core import reference
from tfqkd.compat import keras, tf
from tfqkd.core.activations import LsqActivationQuantizer
from tfqkd.core.policy import Bits
from tfqkd.core.quantizers import UniformQuantizer
from tfqkd.core.schemes import Scheme, UniformScheme
from tfqkd.fronts.sensitivity import LayerSensitivity, Sensitivity, sensitivity
from tfqkd.fronts.tfmot.model import quantize_model
from tfqkd.fronts.tfmot.summary import quantization_summary

layers = keras.layers
DATA = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
LABELS = np.random.default_rng(1).integers(0, 3, 40)


def network(names="abc"):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((5,)),
            layers.Dense(8, activation="relu", name=names[0]),
            layers.Dense(8, activation="relu", name=names[1]),
            layers.Dense(3, name=names[2]),
        ]
    )


def figures(kernels):
    """Loss and accuracy by NumPy, without biases, which start at zero."""
    logits = np.maximum(np.maximum(DATA @ kernels["a"], 0) @ kernels["b"], 0) @ kernels["c"]
    logits = logits.astype(np.float64)
    losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(40), LABELS]
    return losses.mean(), np.mean(logits.argmax(1) == LABELS)


@pytest.mark.parametrize("mode", ["one", "all_but_one"])
def test_every_row_equals_numpy(mode, capsys):
    model = network()
    kernels = {name: model.get_layer(name).kernel.numpy() for name in "abc"}
    found = sensitivity(model, (DATA, LABELS), UniformScheme(2), bits=(2, 4), mode=mode)
    assert (found.loss, found.accuracy) == pytest.approx(figures(kernels), rel=1e-5)
    assert [(row.layer, row.bits) for row in found.rows] == [
        (name, Bits(bits)) for name in "abc" for bits in (2, 4)
    ]
    for row in found.rows:
        changed = {
            name: reference.quantized(kernel, row.bits.weights)
            if (name == row.layer) == (mode == "one")
            else kernel
            for name, kernel in kernels.items()
        }
        assert (row.loss, row.accuracy) == pytest.approx(figures(changed), rel=1e-5)
        assert row.packed_bytes == kernels[row.layer].size * row.bits.weights // 8 + 4
    assert found.float_bytes == {name: 4 * kernel.size for name, kernel in kernels.items()}
    assert found.other_bytes == 4 * (8 + 8 + 3)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split()[:2] == ["layer", "quantized" if mode == "one" else "left"]
    assert len(printed) == 9
    np.testing.assert_array_equal(model.get_layer("a").kernel, kernels["a"])


@pytest.mark.parametrize(
    "labels", [LABELS[:, None], tf.one_hot(LABELS, 3)], ids=["column", "one-hot"]
)
def test_labels_may_be_classes_in_a_column_or_one_hot(labels):
    model = network()
    kernels = {name: model.get_layer(name).kernel.numpy() for name in "abc"}
    found = sensitivity(model, (DATA, labels), bits=(2,), layers="b", print_fn=None)
    assert (found.loss, found.accuracy) == pytest.approx(figures(kernels), rel=1e-5)


def test_a_model_that_ends_in_softmax_is_refused():
    model = network()
    model.add(layers.Softmax(name="end"))
    with pytest.raises(ValueError, match=r"The model must end in logits.*'end' applies softmax"):
        sensitivity(model, (DATA, LABELS))


def normalized(rectified=True):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((5,)),
            layers.Dense(8, name="a"),
            layers.BatchNormalization(name="norm"),
            *([layers.ReLU(name="relu")] if rectified else []),
            layers.Dense(3, name="b"),
        ]
    )


def test_activations_and_batch_norm_are_settled_on_calibration_data():
    model = normalized()
    scheme = Scheme(UniformQuantizer(8), LsqActivationQuantizer(8))
    data = tf.data.Dataset.from_tensor_slices((DATA, tf.one_hot(LABELS, 3))).batch(16)
    arguments = {"bits": [(8, 8), (None, 2)], "print_fn": None}
    # A generator can be read only once, and there are four measurements.
    batches = (batch for batch in [(DATA[:20], LABELS[:20]), (DATA[20:], LABELS[20:])])
    found = sensitivity(model, data, scheme, calibration=batches, **arguments)
    # The first layer reads the input of the model, which stays as it comes.
    assert [(row.layer, row.bits) for row in found.rows[:2]] == [("a", (8, 8)), ("a", (None, 2))]
    fine, coarse = found.rows[2:]
    # The statistics of an untrained batch norm are measured: far from the float model's moving averages.
    hidden = DATA @ model.get_layer("a").kernel.numpy()
    hidden = np.maximum((hidden - hidden.mean(0)) / np.sqrt(hidden.var(0) + 1e-3), 0)
    logits = hidden @ model.get_layer("b").kernel.numpy()
    expected = np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(40), LABELS])
    assert fine.loss == pytest.approx(expected, rel=0.02)
    assert coarse.packed_bytes == found.float_bytes["b"] == 4 * 24
    assert abs(coarse.loss - expected) > abs(fine.loss - expected)
    assert found.rows[1].loss == pytest.approx(expected, rel=0.02)


def test_a_batch_norm_whose_output_is_quantized_is_settled_too():
    scheme = Scheme(UniformQuantizer(8), LsqActivationQuantizer(8))
    arguments = {"bits": (8,), "layers": "b", "print_fn": None}
    model = normalized(rectified=False)
    settled = sensitivity(model, (DATA, LABELS), scheme, calibration=(DATA, LABELS), **arguments)
    values = DATA @ model.get_layer("a").kernel.numpy()
    norm = model.get_layer("norm")
    norm.moving_mean.assign(values.mean(0))
    norm.moving_variance.assign(values.var(0))
    norm.trainable = False
    frozen = sensitivity(model, (DATA, LABELS), scheme, calibration=DATA, **arguments)
    assert settled.rows[0].loss == pytest.approx(frozen.rows[0].loss, rel=1e-3)
    assert settled.rows[0].loss != pytest.approx(settled.loss, rel=1e-3)


def made(costs, sizes, other=10):
    """Measurements of layers of 100 bytes, with the costs and sizes of two widths each."""
    rows = tuple(
        LayerSensitivity(f"l{number}", Bits(bits), 1.0 + cost, 0.5, size)
        for number, (pair, bytes_) in enumerate(zip(costs, sizes, strict=True))
        for bits, cost, size in zip((2, 4), pair, bytes_, strict=True)
    )
    return Sensitivity("one", rows, 1.0, 0.5, {f"l{n}": 100 for n in range(len(costs))}, other)


def test_the_proposal_is_the_best_of_all_that_fit():
    generator = np.random.default_rng(0)
    for _ in range(20):
        costs = generator.uniform(-0.1, 1, (4, 2))
        sizes = generator.integers([5, 20], [20, 60], (4, 2))
        found = made(costs, sizes)
        budget = int(generator.integers(10 + sizes[:, 0].sum(), 410))
        options = [
            [(0.0, 100), *zip(pair, bytes_, strict=True)]
            for pair, bytes_ in zip(costs, sizes, strict=True)
        ]
        best = min(
            sum(cost for cost, _ in choice)
            for choice in itertools.product(*options)
            if 10 + sum(size for _, size in choice) <= budget
        )
        *widths, others = found.propose(budget).values()
        assert others is None
        cost = size = 0.0
        for number, bits in enumerate(widths):
            index = 0 if bits is None else {2: 1, 4: 2}[bits.weights]
            cost += options[number][index][0]
            size += options[number][index][1]
        assert 10 + size <= budget
        assert cost == pytest.approx(best)


def test_a_budget_that_nothing_fits_is_refused_with_the_least():
    found = made([(0.1, 0.2)], [(5, 20)])
    assert found.propose(15) == {("l0",): Bits(2), ".*": None}
    with pytest.raises(ValueError, match="`budget_bytes` must be at least 15"):
        found.propose(14)


def test_a_budget_that_the_float_model_fits_is_refused_unless_bits_are_better():
    with pytest.raises(
        ValueError, match=r"must leave something to quantize.*float model fits with 110"
    ):
        made([(0.1, 0.2)], [(5, 20)]).propose(110)
    assert made([(0.1, -0.2)], [(5, 20)]).propose(110)[("l0",)] == Bits(4)


def test_a_model_quantized_as_proposed_fits_the_budget():
    # Read as an expression, the name of the first layer selects all; the second one is not measured.
    model = network(("l.1", "l11", "lx1"))
    measured = ("l.1", "lx1")
    found = sensitivity(model, (DATA, LABELS), bits=(2, 3), layers=measured, print_fn=None)
    least = found.other_bytes + sum(row.packed_bytes for row in found.rows if row.bits == Bits(2))
    most = found.other_bytes + sum(found.float_bytes.values())
    for share in (0.0, 0.5, 0.99):
        budget = int(least + share * (most - least))
        policy = found.propose(budget)
        summary = quantization_summary(quantize_model(model, UniformScheme(2), policy), None)
        assert summary.packed_bytes <= budget
        for row in summary.layers:
            bits = policy.get((row.layer,))
            assert row.bits == (bits.weights if bits else 32)


def test_only_single_layers_lead_to_a_proposal_and_modes_are_two():
    arguments = {"bits": (2,), "print_fn": None}
    found = sensitivity(network(), (DATA, LABELS), mode="all_but_one", **arguments)
    with pytest.raises(ValueError, match="needs the cost of each layer alone"):
        found.propose(1000)
    with pytest.raises(ValueError, match="`mode` must be one of one, all_but_one"):
        sensitivity(network(), (DATA, LABELS), mode="none")


def test_the_plot_is_a_picture(tmp_path):
    found = made([(0.1, 0.2), (0.3, 0.0)], [(5, 20), (5, 20)])
    found.plot(tmp_path / "plot.png")
    image = tf.io.decode_png((tmp_path / "plot.png").read_bytes())
    assert min(image.shape[:2]) > 300
    assert len(np.unique(image)) > 20


@pytest.mark.parametrize(
    ("mode", "title"), [("one", "this layer alone"), ("all_but_one", "all but")]
)
def test_the_plot_has_a_line_for_each_width_with_the_rise_of_each_layer(mode, title, monkeypatch):
    found = made([(0.1, 0.2), (0.3, 0.0), (0.7, -0.1)], [(5, 20)] * 3)
    found = dataclasses.replace(found, mode=mode)
    drawn = []
    monkeypatch.setattr(
        "matplotlib.figure.Figure.savefig", lambda figure, path: drawn.append(figure)
    )
    found.plot("unused.svg")
    (axes,) = drawn[0].axes
    *lines, zero = axes.lines
    assert [line.get_label() for line in lines] == ["2 bits", "4 bits"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["2 bits", "4 bits"]
    for line, rises in zip(lines, ([0.1, 0.3, 0.7], [0.2, 0.0, -0.1]), strict=True):
        assert list(line.get_xdata(orig=True)) == ["l0", "l1", "l2"]
        assert line.get_ydata() == pytest.approx(rises)
    assert list(zero.get_ydata()) == [0, 0]
    assert title in axes.get_title()
