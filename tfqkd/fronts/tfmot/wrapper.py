"""The tfmot wrapper of `quantize_model`."""

from collections.abc import Mapping, MutableMapping
from typing import Any

import numpy as np

from tfqkd.compat import keras, tf, tfmot
from tfqkd.fronts.tfmot.activations import second_pass
from tfqkd.fronts.tfmot.kernels import require_kernels


@keras.utils.register_keras_serializable(package="tfqkd")
class QuantizedLayer(tfmot.quantization.keras.QuantizeWrapperV2):
    """A layer whose kernels, or whose output, are quantized, in the place and under the name of that layer.

    It differs from tfmot's wrapper in what a user of Keras relies on:

    - `trainable=False` keeps all of it: the layer's weights, and the steps, scales and statistics of its
      quantizers.
    - An `activity_regularizer` sees the layer's own output, before a quantizer of the output, as it does in
      the float and in the stripped model.
    - The layer keeps its latent kernels: only while it computes do the quantized ones take their place.

    Args:
        layer: The layer, not a model.
        quantize_config: A `configs.LayerQuantizeConfig`.
        **kwargs: As for any Keras layer; the name is that of `layer` by default.
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        quantize_config: tfmot.quantization.keras.QuantizeConfig,
        **kwargs: Any,
    ) -> None:
        super().__init__(layer, quantize_config, **{"name": layer.name, **kwargs})

    def call(self, inputs: tf.Tensor, training: bool | None = None, **kwargs: Any) -> tf.Tensor:
        """Returns what the layer computes with quantized kernels, quantized if its output is to be."""
        if training is None:
            training = keras.backend.learning_phase()
        # In training, quantizers move their steps and counters.
        moving = training if self.trainable and second_pass.get() is None else False
        kernels = [
            self._quantized(quantizer, latent, moving, state)
            for latent, quantizer, state in self._weight_vars
        ]
        self._hold(kernels)
        try:
            if self.layer._expects_training_arg:
                outputs = self.layer.call(inputs, training=training, **kwargs)
            else:
                outputs = self.layer.call(inputs, **kwargs)
        finally:
            self._hold([latent for latent, _, _ in self._weight_vars])
        self.layer._handle_activity_regularization(inputs, outputs)
        for quantizer in self._output_quantizers:
            outputs = self._quantized(quantizer, outputs, moving, self._output_quantizer_vars)
        return outputs

    def compute_output_shape(self, input_shape: tf.TensorShape) -> tf.TensorShape:
        """Returns the layer's."""
        return self.layer.compute_output_shape(input_shape)

    @property
    def trainable_weights(self) -> list[tf.Variable]:
        """The layer's, then those that its quantizers learn; none if it is frozen."""
        if not self.trainable:
            return []
        return self.layer.trainable_weights + self._learned

    @property
    def non_trainable_weights(self) -> list[tf.Variable]:
        """All others. `weights` has one order, frozen or not: files list them by it."""
        rest = self.layer.non_trainable_weights
        learned: list[tf.Variable] = []
        if not self.trainable:
            learned = [weight for weight in rest if weight.trainable] + self._learned
            rest = [weight for weight in rest if not weight.trainable]
        return learned + rest + self._non_trainable_weights

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        config = super().get_config()
        # Built before it is called, the layer would not be named in its weights.
        config["layer"].pop("build_config", None)
        return config

    def get_build_config(self) -> None:
        """Returns nothing: it is built when it is called."""

    def save_own_variables(self, store: MutableMapping[str, np.ndarray]) -> None:
        """Puts what is not the layer's into a `.keras` file."""
        for index, variable in enumerate(self._learned + self._non_trainable_weights):
            store[str(index)] = variable.numpy()

    def load_own_variables(self, store: Mapping[str, np.ndarray]) -> None:
        """Takes it back from one."""
        for index, variable in enumerate(self._learned + self._non_trainable_weights):
            variable.assign(store[str(index)])

    @property
    def _learned(self) -> list[tf.Variable]:
        # tfmot lists the layer's weights among the wrapper's own, where freezing would not reach them.
        inner = {id(weight) for weight in self.layer.weights}
        return [weight for weight in self._trainable_weights if id(weight) not in inner]

    @tf.autograph.experimental.do_not_convert
    def _hold(self, kernels: list[Any]) -> None:
        if kernels:
            for kernel, value in zip(require_kernels(self.layer), kernels, strict=True):
                # Past Keras' own __setattr__, which would forget the latent variable.
                self.layer.__dict__[kernel.attribute] = value

    def _quantized(
        self,
        quantizer: tfmot.quantization.keras.quantizers.Quantizer,
        values: Any,
        training: Any,
        state: dict[str, tf.Variable],
    ) -> tf.Tensor:
        if tf.is_tensor(training):
            return tf.cond(
                tf.cast(training, tf.bool),
                self._make_quantizer_fn(quantizer, values, True, state),
                self._make_quantizer_fn(quantizer, values, False, state),
            )
        return quantizer(values, bool(training), weights=state)
