"""Batch norm by TensorFlow's one kernel: against Keras' own, and what models and files hold of it."""

import keras
import numpy as np
import pytest

from tests.fronts.keras3.inside.nets import (
    BACKEND,
    array,
    batch,
    cross_entropy,
    perceptron,
    same_outputs,
    same_weights,
)
from tfqkd.core.schemes import TernaryScheme
from tfqkd.fronts import keras3
from tfqkd.fronts.keras3.fused_batch_norm import BatchNormalization

only_tensorflow = pytest.mark.skipif(
    BACKEND != "tensorflow", reason="other backends leave it to Keras"
)
FUSED = {
    "images": ((6, 5, 4, 3), "float32", {}),
    "vectors": ((16, 7), "float32", {}),
    "steps": ((4, 5, 3), "float32", {"axis": 2}),
    "volumes": ((2, 3, 4, 2, 3), "float32", {}),
    "one": ((1, 1, 1, 3), "float32", {}),
    "bfloat16": ((6, 5, 4, 3), "mixed_bfloat16", {}),
    "float16": ((6, 5, 4, 3), "mixed_float16", {}),
}
KERAS = {
    "another axis": ((6, 5, 4, 3), "float32", {"axis": 1}),
    "no scale": ((6, 5, 4, 3), "float32", {"scale": False}),
    "renorm": ((6, 5, 4, 3), "float32", {"renorm": True}),
    "float64": ((6, 5, 4, 3), "float64", {}),
    "frozen": ((6, 5, 4, 3), "float32", {"trainable": False}),
}


def made(kind, shape, **settings):
    """A layer with random weights."""
    layer = kind(momentum=0.9, **settings)
    layer.build(shape)
    random = np.random.default_rng(1)
    layer.set_weights([random.uniform(0.5, 2.0, weight.shape) for weight in layer.weights])
    return layer


def step(layer, inputs, upstream):
    """The outputs of a training step, the gradients and the weights behind it; and the operations."""
    import tensorflow as tf

    @tf.function
    def run(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs, training=True)
            total = tf.reduce_sum(tf.cast(outputs, upstream.dtype) * upstream)
        learned = [variable.value for variable in layer.trainable_variables]
        return outputs, *tape.gradient(total, [inputs, *learned])

    found = [array(each) for each in run(inputs)]
    operations = {each.type for each in run.get_concrete_function(inputs).graph.get_operations()}
    return [*found, *(array(weight.value) for weight in layer.weights)], operations


@only_tensorflow
@pytest.mark.parametrize("case", [*FUSED, *KERAS])
def test_a_step_is_that_of_keras(case):
    import tensorflow as tf

    shape, policy, settings = {**FUSED, **KERAS}[case]
    kinds = (keras.layers.BatchNormalization, BatchNormalization)
    plain, fused = (made(kind, shape, dtype=policy, **settings) for kind in kinds)
    random, dtype = np.random.default_rng(0), plain.compute_dtype
    inputs = tf.cast(random.normal(3, 2, shape), dtype)
    upstream = tf.constant(random.normal(size=shape), tf.float32)
    (expected, _), (found, operations) = (
        step(plain, inputs, upstream),
        step(fused, inputs, upstream),
    )
    assert ("FusedBatchNormV3" in operations) is (case in FUSED)
    tolerance = {"float16": 2e-3, "bfloat16": 2e-2}.get(dtype, 2e-5 if case in FUSED else 0)
    for one, other in zip(expected, found, strict=True):
        assert one.dtype == other.dtype
        wanted, computed = (np.asarray(each, np.float64) for each in (one, other))
        largest = max(np.abs(wanted).max(), 1e-2)
        np.testing.assert_allclose(computed, wanted, rtol=tolerance, atol=tolerance * largest)
    # Inference is Keras' own, to the bit.
    plain.set_weights(fused.get_weights())
    np.testing.assert_array_equal(array(fused(inputs)), array(plain(inputs)))


def test_quantized_models_train_with_it_on_tensorflow_and_stripped_ones_are_plain(tmp_path):
    model = perceptron()
    model.get_layer("norm").trainable = False
    quantized = keras3.quantize_model(model, TernaryScheme(), layers=".*")
    expected = BatchNormalization if BACKEND == "tensorflow" else keras.layers.BatchNormalization
    assert type(quantized.get_layer("norm")) is expected
    assert not quantized.get_layer("norm").trainable
    quantized.get_layer("norm").trainable = True
    quantized.compile(keras.optimizers.SGD(0.1, momentum=0.9), cross_entropy())
    quantized.fit(*batch(16), batch_size=8, verbose=0)
    quantized.save(tmp_path / "quantized.keras")
    loaded = keras.models.load_model(tmp_path / "quantized.keras")
    assert type(loaded.get_layer("norm")) is expected
    same_weights(quantized, loaded)
    stripped = keras3.strip_quantization(loaded)
    assert type(stripped.get_layer("norm")) is keras.layers.BatchNormalization
    same_outputs(quantized, stripped, batch(8)[0])


def test_weights_go_between_models_with_and_without_it(tmp_path):
    def network(kind):
        inputs = keras.Input((4,))
        return keras.Model(inputs, kind(name="norm")(keras.layers.Dense(3)(inputs)))

    ours, theirs = network(BatchNormalization), network(keras.layers.BatchNormalization)
    ours.save_weights(tmp_path / "all.weights.h5")
    theirs.load_weights(tmp_path / "all.weights.h5")
    same_weights(ours, theirs)
