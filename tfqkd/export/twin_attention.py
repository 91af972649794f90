"""Grouped-query attention of Keras 3 as a layer of tf_keras, which has none of its own."""

from typing import Any

from tfqkd.compat import keras, tf

_HIDDEN = 0.7 * tf.float32.min
"""The score of what a mask hides, as in Keras 3."""


class GroupedQueryAttention(keras.layers.Layer):
    """Attention whose query heads share key and value heads, for inference (arXiv 2305.13245).

    Its weights are those of the layer of Keras 3, in the same order.

    Args:
        head_dim: The size of a head.
        num_query_heads: How many heads queries have.
        num_key_value_heads: How many heads keys and values have; a divisor of that.
        use_bias: Whether the projections have biases.
        use_gate: Whether a sigmoid of the query scales the output of the heads.
    """

    def __init__(
        self,
        head_dim: int,
        num_query_heads: int,
        num_key_value_heads: int,
        use_bias: bool = True,
        use_gate: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.head_dim = head_dim
        self.num_query_heads = num_query_heads
        self.num_key_value_heads = num_key_value_heads
        self.use_bias = use_bias
        self.use_gate = use_gate

    def build(self, input_shape: Any) -> None:
        """Makes the projections, in the order in which Keras 3 makes them."""
        self._query = self._projection("query", self.num_query_heads)
        self._key = self._projection("key", self.num_key_value_heads)
        self._gate = None
        if self.use_gate:
            self._gate = self._projection("gate", self.num_query_heads, activation="sigmoid")
        self._value = self._projection("value", self.num_key_value_heads)
        self._output = keras.layers.EinsumDense(
            "bquh,uhm->bqm",
            (None, input_shape[-1]),
            bias_axes="m" if self.use_bias else None,
            name="attention_output",
        )
        super().build(input_shape)

    def call(
        self,
        query: Any,
        value: Any,
        key: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        """Returns the output, and the scores if they are asked for."""
        key = value if key is None else key
        mask = _mask(query, value, key, attention_mask, use_causal_mask)
        heads = self._query(query) * self.head_dim**-0.5
        scores = tf.einsum("bquh,bkuh->buqk", heads, self._repeated(self._key(key)))
        if mask is not None:
            scores = tf.where(mask[:, tf.newaxis], scores, _HIDDEN)
        scores = tf.nn.softmax(scores)
        output = tf.einsum("buqk,bkuh->bquh", scores, self._repeated(self._value(value)))
        if self._gate is not None:
            output *= self._gate(query)
        output = self._output(output)
        return (output, scores) if return_attention_scores else output

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {
            **super().get_config(),
            "head_dim": self.head_dim,
            "num_query_heads": self.num_query_heads,
            "num_key_value_heads": self.num_key_value_heads,
            "use_bias": self.use_bias,
            "use_gate": self.use_gate,
        }

    def _projection(self, name: str, heads: int, **options: Any) -> keras.layers.Layer:
        return keras.layers.EinsumDense(
            "bqm,muh->bquh",
            (None, heads, self.head_dim),
            bias_axes="uh" if self.use_bias else None,
            name=name,
            **options,
        )

    def _repeated(self, heads: tf.Tensor) -> tf.Tensor:
        """Keys or values, [N, steps, heads, size], for each query head."""
        repeats = self.num_query_heads // self.num_key_value_heads
        tiled = tf.tile(heads[:, :, :, tf.newaxis], [1, 1, 1, repeats, 1])
        sizes = tf.shape(heads)
        return tf.reshape(tiled, [sizes[0], sizes[1], self.num_query_heads, self.head_dim])


def _mask(query: Any, value: Any, key: Any, given: Any, is_causal: bool) -> tf.Tensor | None:
    """What may be attended to, [N or 1, queries, keys]: the masks of all of them together."""
    masks = [] if given is None else [tf.cast(given, tf.bool)]
    implied = getattr(query, "_keras_mask", None)
    if implied is not None:
        masks.append(implied[:, :, tf.newaxis])
    # Keras 3 asks for the key's where it is not the value.
    for tensor in [value] if key is value else [value, key]:
        implied = getattr(tensor, "_keras_mask", None)
        if implied is not None:
            masks.append(implied[:, tf.newaxis])
    if is_causal:
        sizes = [1, tf.shape(query)[1], tf.shape(value)[1]]
        masks.append(tf.linalg.band_part(tf.ones(sizes, tf.bool), -1, 0))
    joined = None
    for mask in masks:
        joined = mask if joined is None else joined & mask
    return joined
