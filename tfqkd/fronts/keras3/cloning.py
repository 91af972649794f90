"""Copies of models: new layers from configs, the weights and what is frozen taken over."""

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import keras

from tfqkd.fronts.keras3.kernels import parts
from tfqkd.fronts.keras3.wrapper import plain_layer

Change = Callable[[keras.layers.Layer], keras.layers.Layer]


def clone(
    model: keras.Model,
    change: Change,
    behind: Mapping[int, keras.layers.Layer] | None = None,
    left_out: Collection[int] = (),
) -> keras.Model:
    """Returns a model of the same graph with another layer in the place of each one, and the same frozen.

    Models within the model are cloned too; what is shared stays shared. The copy is not compiled.

    Args:
        model: A Functional or built Sequential model.
        change: Called once with each layer that is no Functional or Sequential model; returns the one in its
            place, under the same name.
        behind: Layers to put behind others, by the ids of these.
        left_out: The ids of layers of one input whose readers are to read that.
    """
    made: dict[int, Any] = {}
    followers = behind or {}

    def copy_of(operation: Any) -> Any:
        if id(operation) not in made:
            made[id(operation)] = changed(operation)
        return made[id(operation)]

    def changed(operation: Any) -> Any:
        if is_graph(operation):
            return cloned(operation)
        # `x * 2` and the like: no layer, without weights.
        if not isinstance(operation, keras.layers.Layer):
            return type(operation).from_config(operation.get_config())
        return change(operation)

    def called(operation: Any, *args: Any, **kwargs: Any) -> Any:
        if any(made.get(old) is operation for old in left_out):
            return args[0]
        outputs = operation(*args, **kwargs)
        for old, follower in followers.items():
            if made.get(old) is operation:
                return follower(outputs)
        return outputs

    def cloned(graph: keras.Model) -> keras.Model:
        if not isinstance(graph, keras.Sequential):
            with _uncompiled(graph):
                return keras.models.clone_model(
                    graph, _inputs_of(graph), clone_function=copy_of, call_function=called
                )
        layers = [keras.Input(batch_shape=graph.input_shape, dtype=graph.inputs[0].dtype)]
        for layer in graph.layers:
            if id(layer) in left_out:
                continue
            layers += [copy_of(layer), *([followers[id(layer)]] if id(layer) in followers else [])]
        return keras.Sequential(layers, name=graph.name)

    twin = cloned(model)
    _freeze_as(model, twin, left_out)
    return twin


def _freeze_as(model: keras.Model, twin: keras.Model, left_out: Collection[int]) -> None:
    for old, new in zip(graphs(model), graphs(twin), strict=True):
        if new.trainable != old.trainable:
            new.trainable = old.trainable
    copies = dict(leaves(twin))
    for name, old in leaves(model):
        if id(old) in left_out:
            continue
        new = copies[name]
        new.trainable = old.trainable
        _keep_frozen(plain_layer(old), plain_layer(new))


def _keep_frozen(old: keras.layers.Layer, new: keras.layers.Layer) -> None:
    """Freezes in a copy what is frozen in a layer or model; configs leave out what is within it."""
    for each, copy in zip(parts(old), parts(new), strict=False):
        if copy.trainable != each.trainable:
            copy.trainable = each.trainable


def shown(model: keras.Model) -> tuple[keras.Model, dict[str, Any]]:
    """Returns a Functional model of the same layers, and what each of them puts out in it, by name.

    A layer that is called twice counts with the second call; one in a model within the model is not shown.

    Args:
        model: A Functional or built Sequential model.
    """
    outputs: dict[str, Any] = {}

    def called(operation: Any, *args: Any, **kwargs: Any) -> Any:
        found = operation(*args, **kwargs)
        if isinstance(operation, keras.layers.Layer):
            outputs[operation.name] = found
        return found

    return traced(model, called), outputs


def traced(model: keras.Model, called: Callable[..., Any]) -> keras.Model:
    """Returns a Functional model of the same layers, made by calling each of them in the order of the graph.

    Args:
        model: A Functional or built Sequential model.
        called: Given a layer, or another operation, and what it is called with; returns its outputs.
    """
    # Keras shows what is called in Functional models alone.
    is_sequence = isinstance(model, keras.Sequential)
    graph = keras.Model(model.inputs, model.outputs) if is_sequence else model
    with _uncompiled(graph):
        return keras.models.clone_model(
            graph, _inputs_of(graph), clone_function=lambda layer: layer, call_function=called
        )


def copied(
    layer: keras.layers.Layer, kind: type[keras.layers.Layer] | None = None
) -> keras.layers.Layer:
    """Returns a layer of the same settings and, if that one is built, with the same weights.

    Args:
        layer: The layer.
        kind: A class of the same settings and weights for the copy; by default the layer's own.

    Raises:
        ValueError: If its config does not rebuild it.
    """
    try:
        copy = _rebuilt(layer, kind or type(layer))
        prefix = _missing_prefix(layer, copy)
        if prefix:
            # Keras put it under the names of models that it was built in: its variables keep their paths.
            with contextlib.ExitStack() as scopes:
                for name in prefix.split("/"):
                    scopes.enter_context(keras.name_scope(name))
                copy = _rebuilt(layer, kind or type(layer))
        if layer.built:
            copy.set_weights(layer.get_weights())
    except Exception as error:
        why = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ValueError(
            "Every layer of the model must be rebuildable from its config, because a copy replaces it. "
            f"Received: {type(layer).__name__} '{layer.name}', which is not ({why}). Give its class "
            "get_config and from_config; register functions by keras.saving.register_keras_serializable."
        ) from error
    return copy


def leaves(model: keras.Model) -> Iterator[tuple[str, keras.layers.Layer]]:
    """Yields the layers of a model, each once, and instead of the models within it theirs.

    Their names are paths then: "<model>/<layer>". A subclassed model is one layer.
    """
    seen: set[int] = set()

    def walk(inside: keras.Model, path: str) -> Iterator[tuple[str, keras.layers.Layer]]:
        for layer in inside.layers:
            if id(layer) in seen:
                continue
            seen.add(id(layer))
            name = f"{path}{layer.name}"
            if is_graph(layer):
                yield from walk(layer, f"{name}/")
            else:
                yield name, layer

    yield from walk(model, "")


def graphs(model: keras.Model) -> Iterator[keras.Model]:
    """Yields a Functional or Sequential model and those within it, outer ones first."""
    yield model
    for layer in model.layers:
        if is_graph(layer):
            yield from graphs(layer)


def is_graph(layer: Any) -> bool:
    """Returns whether it is a Functional or Sequential model, whose layers can be replaced."""
    # Keras does not export the class of its Functional models; they alone have operations.
    functional = isinstance(layer, keras.Model) and hasattr(layer, "operations")
    return functional or isinstance(layer, keras.Sequential)


def _rebuilt(layer: keras.layers.Layer, kind: type[keras.layers.Layer]) -> keras.layers.Layer:
    copy = kind.from_config(layer.get_config())
    if layer.built and not copy.built:
        copy.build_from_config(layer.get_build_config())
        copy.built = True  # A subclassed model does not say so.
    return copy


def _missing_prefix(layer: keras.layers.Layer, copy: keras.layers.Layer) -> str:
    """What the paths of a copy's variables lack at their start, if all lack the same."""
    pairs = [(v.path, twin.path) for v, twin in zip(layer.weights, copy.weights, strict=False)]
    prefixes = {wanted[: -len(path)] for wanted, path in pairs if wanted.endswith(f"/{path}")}
    return prefixes.pop().strip("/") if len(prefixes) == 1 else ""


def _inputs_of(model: keras.Model) -> Any:
    """New inputs under the names of a Functional model's; Keras would rename some."""
    made = {}
    for tensor in model.inputs:
        layer = tensor._keras_history.operation
        options = {"dtype": tensor.dtype, "sparse": tensor.sparse, "optional": layer.optional}
        made[id(tensor)] = keras.Input(batch_shape=tensor.shape, name=layer.name, **options)
    return keras.tree.map_structure(lambda tensor: made[id(tensor)], model.input)


@contextlib.contextmanager
def _uncompiled(model: keras.Model) -> Iterator[None]:
    """Within it a model counts as not compiled: Keras would compile its copy, from losses by their names."""
    compiled, model.compiled = model.compiled, False
    try:
        yield
    finally:
        model.compiled = compiled
