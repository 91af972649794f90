"""Models without models in them: tfmot wraps layers, and does not look into a model that is one."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from tfqkd.compat import keras, tf
from tfqkd.fronts.tfmot.cloning import copied, keep_parts

_BESIDE_OUTPUTS = ("AddLoss", "AddMetric")


def flattened(model: keras.Model) -> keras.Model:
    """Returns a model of the same outputs, bit for bit, in which the layers of inner models are its own.

    A layer of the model `base` is called `base/conv1`. Weights are copied and what is frozen stays frozen;
    a model or layer that is called several times, or stands in several models, stays one. What an inner model
    was told of `training` its layers are told. Layers that no output needs are left out.

    Args:
        model: A Functional or built Sequential model.

    Returns:
        A Functional model of its own layers; `model` itself if none of its layers is a model.

    Raises:
        ValueError: If an inner model is subclassed, adds losses or metrics to the model, or gets a mask as an
            argument; or if a layer in one takes no `training` where that model is told some.
    """
    if not any(isinstance(layer, keras.Model) for layer in model.layers):
        return model
    leaves = {id(leaf.layer): leaf for leaf in _leaves(model)}
    copies = {key: copied(leaf.layer, name=leaf.name) for key, leaf in leaves.items()}
    inputs = [copied(tensor._keras_history.layer).output for tensor in model.inputs]
    outputs = _computed(model, inputs, copies, None)
    twin = keras.Model(
        tf.nest.pack_sequence_as(model._nested_inputs, inputs), outputs, name=model.name
    )
    # A dict of losses or metrics finds the outputs by them.
    twin.output_names = list(model.output_names)
    twin.trainable = model.trainable
    for key, leaf in leaves.items():
        keep_parts(leaf.layer, copies[key])
        if leaf.is_frozen:
            copies[key].trainable = False
        if copies[key].built:
            copies[key].set_weights(leaf.layer.get_weights())
    return twin


def is_graph(layer: object) -> bool:
    """Returns whether it is a Functional or built Sequential model that computes what its layers do."""
    if not (isinstance(layer, keras.Model) and layer._is_graph_network):
        return False
    # A class of the user's may compute something else.
    return type(layer).call.__module__.partition(".")[0] in ("keras", "tf_keras")


class _Leaf(NamedTuple):
    name: str
    layer: keras.layers.Layer
    is_frozen: bool


def _leaves(model: keras.Model) -> Iterator[_Leaf]:
    """Yields the layers of a model and of those within it, each once, under its first path."""
    seen: set[int] = set()

    def walk(inside: keras.Model, path: str, is_frozen: bool) -> Iterator[_Leaf]:
        for layer in inside.layers:
            if id(layer) in seen or isinstance(layer, keras.layers.InputLayer):
                continue
            seen.add(id(layer))
            name = f"{path}{layer.name}"
            if isinstance(layer, keras.Model):
                _require_graph(layer, name)
                yield from walk(layer, f"{name}/", is_frozen or not layer.trainable)
            else:
                if path and type(layer).__name__ in _BESIDE_OUTPUTS:
                    raise ValueError(
                        f"A model in the model must only compute its outputs. Received: '{path[:-1]}' with "
                        "add_loss or add_metric. Add them to the outer model."
                    )
                yield _Leaf(name, layer, is_frozen)

    yield from walk(model, "", is_frozen=False)


def _require_graph(model: keras.Model, name: str) -> None:
    if not is_graph(model):
        raise ValueError(
            "A model in the model must be Functional or Sequential: in a subclassed one the layers cannot be "
            f"replaced. Received: '{name}', a {type(model).__name__}. Put "
            "keras.Model(inputs, inner.call(inputs)) in its place, with inputs = keras.Input(shape): it has "
            "the same layers and weights."
        )


def _computed(
    model: keras.Model,
    inputs: Any,
    copies: dict[int, keras.layers.Layer],
    training: Any,
) -> Any:
    """Returns what a model makes of symbolic inputs, computed by the copies of its layers.

    Args:
        model: It, or one within it.
        inputs: In the form in which it takes them.
        copies: The copies by the ids of the layers.
        training: What it was told of `training`.
    """
    given = model._flatten_to_reference_inputs(inputs)
    uses = model._tensor_usage_count
    known = {
        str(id(own)): [_conformed(tensor, own)] * uses[str(id(own))]
        for own, tensor in zip(model.inputs, given, strict=True)
    }
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            if node.is_input:
                continue
            args, kwargs = node.map_arguments(known)
            outputs = _called(node.layer, args, kwargs, copies, training)
            for name, tensor in zip(node.flat_output_ids, tf.nest.flatten(outputs), strict=True):
                known[name] = [tensor] * uses[name]
    results = [known[str(id(tensor))].pop() for tensor in model.outputs]
    return tf.nest.pack_sequence_as(model._nested_outputs, results)


def _called(
    layer: keras.layers.Layer,
    args: tuple,
    kwargs: dict[str, Any],
    copies: dict[int, keras.layers.Layer],
    training: Any,
) -> Any:
    told = kwargs.pop("training", None)
    training = training if told is None else told
    if isinstance(layer, keras.Model):
        if kwargs.pop("mask", None) is not None:
            raise ValueError(
                f"A model in the model must get its masks from its inputs. Received: '{layer.name}', "
                "called with mask=... . Leave it out; a Masking layer makes one."
            )
        inputs = args[0] if args else kwargs.pop("inputs")
        return _computed(layer, inputs, copies, training)
    if layer._expects_training_arg:
        kwargs |= {} if training is None else {"training": training}
    elif training is not None and any(
        isinstance(part, keras.layers.Layer) and part._expects_training_arg
        for part in layer.submodules
    ):
        raise ValueError(
            "Layers of a model that is called with `training` must take it too. Received: "
            f"'{layer.name}', a {type(layer).__name__} whose call has no such argument. Add it: "
            "call(self, inputs, training=None)."
        )
    return copies[id(layer)](*args, **kwargs)


def _conformed(tensor: Any, own: Any) -> Any:
    """A tensor as a model takes it where Keras accepts another type, or an axis of one more or less."""
    if tensor.shape.rank != own.shape.rank:
        squeezes = tensor.shape.rank > own.shape.rank
        tensor = tf.squeeze(tensor, -1) if squeezes else tf.expand_dims(tensor, -1)
    return tensor if tensor.dtype == own.dtype else tf.cast(tensor, own.dtype)
