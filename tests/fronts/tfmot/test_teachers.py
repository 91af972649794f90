import keras as keras3
import numpy as np
import pytest

from tfqkd.compat import keras, tf
from tfqkd.core.teachers import Ensemble
from tfqkd.fronts.logits import require_logits
from tfqkd.fronts.tfmot.model import quantize_model
from tfqkd.fronts.tfmot.teachers import as_teacher

layers = keras.layers
BATCH = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)


def linear(classes=4, seed=0, **arguments):
    keras.utils.set_random_seed(seed)
    return keras.Sequential([keras.Input((5,)), layers.Dense(classes, name="end", **arguments)])


def logits_of(model):
    kernel, bias = (np.float64(weight) for weight in model.get_weights())
    return BATCH @ kernel + bias


def test_no_gradient_flows_to_the_batch_or_the_weights():
    model, batch = linear(), tf.constant(BATCH)
    with tf.GradientTape() as tape:
        tape.watch(batch)
        loss = tf.reduce_sum(as_teacher(model)(batch) ** 2)
    assert tape.gradient(loss, [batch, *model.weights]) == [None, None, None]


@pytest.mark.parametrize("kind", ["keras", "function"])
def test_logits_are_float32(kind):
    model = linear(dtype="float64")
    teacher = as_teacher(model if kind == "keras" else model.call)
    logits = teacher(tf.constant(BATCH, tf.float64))
    assert logits.dtype == tf.float32
    np.testing.assert_allclose(logits, logits_of(model), rtol=1e-5)


def test_a_keras_teacher_runs_in_inference_mode():
    model = keras.Sequential(
        [keras.Input((5,)), layers.BatchNormalization(), layers.Dropout(0.9), layers.Dense(4)]
    )
    mean, variance = np.arange(5.0), np.arange(1.0, 6.0)
    model.layers[0].set_weights([np.ones(5), np.zeros(5), mean, variance])
    logits = as_teacher(model)(BATCH)
    kernel, bias = model.layers[-1].get_weights()
    expected = (BATCH - mean) / np.sqrt(variance + 1e-3) @ kernel + bias
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(model.layers[0].moving_mean, mean)


def test_a_serving_signature_may_return_logits_alone():
    model = linear()
    outputs = {"logits": model(BATCH), "embedding": tf.constant(BATCH)}
    with pytest.raises(ValueError, match=r"return one tensor.*Received: \['embedding', 'logits'\]"):
        as_teacher(lambda batch: outputs)(BATCH)
    picked = as_teacher(lambda batch: {"logits": outputs["logits"]})
    np.testing.assert_allclose(picked(BATCH), logits_of(model), rtol=1e-5)


@pytest.mark.parametrize("library", [keras, keras3])
def test_a_teacher_that_is_not_built_is_refused(library):
    with pytest.raises(ValueError, match=r"must be built.*Received: 'empty' without weights"):
        as_teacher(library.Sequential([library.layers.Dense(4)], name="empty"))


@pytest.mark.parametrize("value", [None, 3, "teacher", np.zeros(3)])
def test_what_cannot_be_called_is_refused(value):
    with pytest.raises(
        TypeError, match=r"must be a callable from a batch to logits\. Received: <class"
    ):
        as_teacher(value)


def test_an_ensemble_weighs_its_teachers_alike():
    models = [linear(seed=seed) for seed in range(3)]
    ensemble = Ensemble([models[0], models[1], lambda batch: models[2](2 * batch)])
    last = 2 * BATCH @ models[2].layers[0].kernel.numpy() + models[2].layers[0].bias.numpy()
    expected = (logits_of(models[0]) + logits_of(models[1]) + last) / 3
    np.testing.assert_allclose(as_teacher(ensemble)(BATCH), expected, rtol=1e-5, atol=1e-6)


def test_an_ensemble_with_one_teacher_twice_is_refused():
    model = linear(seed=0)
    with pytest.raises(ValueError, match=r"must be different.*Received: \[.*Name each"):
        Ensemble([model, linear(seed=1), model])


def test_a_signature_of_whole_numbers_gets_no_rounded_ones(tmp_path):
    class Table(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.uint8)])
        def serve(self, images):
            return {"logits": tf.cast(images, tf.float32)}

    module = Table()
    tf.saved_model.save(module, str(tmp_path), signatures=module.serve)
    teacher = as_teacher(tf.saved_model.load(str(tmp_path)))
    np.testing.assert_array_equal(teacher(tf.constant([[3, 4]], tf.uint8)), [[3.0, 4.0]])
    with pytest.raises((TypeError, ValueError, tf.errors.InvalidArgumentError)):
        teacher(tf.constant([[3.7, 4.0]]))


def test_a_signature_of_several_inputs_is_refused(tmp_path):
    class Pair(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 2]), tf.TensorSpec([None, 2])])
        def serve(self, a, b):
            return {"logits": a + b}

    module = Pair()
    tf.saved_model.save(module, str(tmp_path), signatures=module.serve)
    with pytest.raises(ValueError, match=r"must take one tensor, the batch\. Received: 2 inputs"):
        as_teacher(tf.saved_model.load(str(tmp_path)))


def after_logits(function):
    inputs = keras.Input((5,))
    return keras.Model(inputs, function(layers.Dense(4, name="logits")(inputs)))


ENDING_IN_SOFTMAX = {
    "activation": lambda: linear(activation="softmax"),
    "function": lambda: linear(activation=tf.nn.softmax),
    "layer": lambda: after_logits(layers.Softmax(name="end")),
    "activation layer": lambda: after_logits(layers.Activation("softmax", name="end")),
    "lambda": lambda: after_logits(layers.Lambda(tf.nn.softmax, name="end")),
    "operation": lambda: after_logits(lambda logits: tf.nn.softmax(logits, name="end")),
    "quantized": lambda: quantize_model(linear(activation="softmax"), layers=".*"),
    "nested": lambda: keras.Sequential(
        [keras.Input((5,)), layers.Rescaling(2.0), linear(activation="softmax")]
    ),
    "Keras 3": lambda: keras3.Sequential(
        [keras3.Input((5,)), keras3.layers.Dense(4, "softmax", name="end")]
    ),
    "Keras 3 layer": lambda: keras3.Sequential(
        [keras3.Input((5,)), keras3.layers.Softmax(name="end")]
    ),
}


@pytest.mark.parametrize("kind", ENDING_IN_SOFTMAX)
def test_a_model_that_ends_in_softmax_is_refused(kind):
    model = ENDING_IN_SOFTMAX[kind]()
    with pytest.raises(
        ValueError, match=r"teacher must end in logits.*last layer '.*' applies softmax"
    ):
        as_teacher(model)


ENDING_IN_SIGMOID = {
    "activation": lambda: linear(activation="sigmoid"),
    "layer": lambda: after_logits(layers.Activation("sigmoid", name="end")),
    "operation": lambda: after_logits(lambda logits: tf.sigmoid(logits, name="end")),
    "quantized": lambda: quantize_model(linear(activation="sigmoid"), layers=".*"),
    "Keras 3": lambda: keras3.Sequential(
        [keras3.Input((5,)), keras3.layers.Dense(4, "sigmoid", name="end")]
    ),
    "in an ensemble": lambda: Ensemble([linear(), linear(activation="sigmoid")]),
}


@pytest.mark.parametrize("kind", ENDING_IN_SIGMOID)
def test_a_model_that_ends_in_sigmoid_has_no_logits_but_may_have_values(kind):
    model = ENDING_IN_SIGMOID[kind]()
    for task in ("softmax", "sigmoid"):
        with pytest.raises(ValueError, match=r"must end in logits.*'.*' applies sigmoid"):
            as_teacher(model, task)
    for task in ("auto", "regression"):
        as_teacher(model, task)


@pytest.mark.parametrize("task", ["auto", "softmax", "sigmoid"])
def test_softmax_is_refused_unless_the_outputs_are_values(task):
    model = linear(activation="softmax")
    for teacher in (model, Ensemble([linear(), Ensemble([model])])):
        with pytest.raises(ValueError, match=r"teacher must end in logits.*applies softmax"):
            as_teacher(teacher, task)
        as_teacher(teacher, "regression")


def test_what_a_teacher_raises_is_the_cause_of_one_line():
    def broken(batch):
        raise ValueError("several\nlines")

    with pytest.raises(ValueError, match=r"must accept.*shape \(6, 5\), for which it") as refused:
        as_teacher(Ensemble([broken]))(BATCH)
    assert "\n" not in str(refused.value)
    assert str(refused.value.__cause__) == "several\nlines"


@pytest.mark.parametrize("kind", ["relu", "linear", None])
def test_other_activations_pass(kind):
    require_logits(linear(activation=kind), "student")
    require_logits(quantize_model(linear(activation=kind), layers=".*"), "student")


def test_log_softmax_passes_for_it_only_shifts_the_logits():
    require_logits(linear(activation="log_softmax"), "teacher")


def test_a_subclassed_model_passes_also_when_it_was_called_on_a_symbol():
    class Subclassed(keras.Model):
        def call(self, inputs):
            return inputs

    model = Subclassed()
    model(keras.Input((5,)))
    require_logits(model, "teacher")


def test_softmax_inside_the_network_passes():
    inputs = keras.Input((5,))
    gate = layers.Dense(5, activation="softmax")(inputs)
    require_logits(keras.Model(inputs, layers.Dense(4)(gate)), "student")


def test_several_outputs_are_refused():
    inputs = keras.Input((5,))
    model = keras.Model(inputs, [layers.Dense(4)(inputs), layers.Dense(4)(inputs)], name="two")
    with pytest.raises(ValueError, match=r"must have one output.*Received: 2 outputs of 'two'"):
        require_logits(model, "student")
