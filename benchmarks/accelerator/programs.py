"""The compiled programs, Keras 3 on JAX: an epoch in one scan, statistics of batch norm, evaluation."""

import functools
import os
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"

import jax
import jax.numpy as jnp
import keras

from benchmarks.accelerator.rules import quantize, show, soft_loss
from tfqkd.core.views import Words, draw_numbers, draw_order
from tfqkd.models.zoo import build


def new_network(*names: Any, **fixed: Any) -> Any:
    """Builds a network on the CPU: a GPU would compile the draw of each initial value."""
    with jax.default_device(jax.devices("cpu")[0]):
        return build(*names, keras=keras, **fixed)


network = functools.cache(new_network)

VIEWS, MOMENTUM, LOGS = 162, 0.9, ("hard_loss", "soft_loss", "accuracy", "agreement")
WORDS = Words(
    *(jnp.uint32, jnp.add, jnp.multiply, jnp.bitwise_xor, jnp.right_shift, jnp.remainder),
    argsort=functools.partial(jnp.argsort, stable=True),
)


@functools.partial(jax.jit, static_argnums=(3, 4, 5), donate_argnums=0)
def epoch(state: Any, data: Any, row: Any, student: Any, teacher: Any, batch: int) -> Any:
    """Trains an epoch with Nesterov momentum and decoupled decay of kernels, as `make_optimizer` has them.

    Args:
        state: Weights and momenta; donated.
        data: uint8 images `[n, H, W, C]` and int32 labels `[n]`.
        row: All in which rows differ: ternary `steps`, `statistics` of batch norm, `taught` (the teacher's
            variables), `key`, `epoch`, `table`, `decay`, `soft`, `sharpness`.
        student: Its structure, as is `teacher`; None takes `sharpness` · one-hot for its logits.
        teacher: See `student`.
        batch: Images in a step.

    Returns:
        The state, and the means of `LOGS`.
    """
    (images, labels), key, number = data, row["key"], row["epoch"]
    examples = jnp.arange(len(images))
    order = draw_order(key, number, examples, WORDS)[: len(images) // batch * batch]
    views = draw_numbers(key, number, examples, VIEWS, WORDS).astype(jnp.int32)

    def step(state: Any, now: Any) -> tuple[Any, Any]:
        (weights, momenta), (rows, (rate, hard_weight, soft_weight)) = state, now
        pixels = show(images, rows, views[rows], jnp).astype(jnp.float32)
        target = jax.nn.one_hot(labels[rows], student.output_shape[-1])
        said = row["sharpness"] * target
        if teacher is not None:
            said, _ = teacher.stateless_call(*row["taught"], pixels, training=False)

        def loss(kernels: list) -> tuple[Any, Any]:
            # The moving averages that come back are dropped, and so never computed.
            logits, _ = student.stateless_call(kernels, row["statistics"], pixels, training=True)
            hard = -(target * jax.nn.log_softmax(logits)).sum(-1).mean()
            soft = soft_loss(said, logits, target, row["soft"], jnp).mean()
            found = logits.argmax(-1)
            logs = [hard, soft, (found == labels[rows]).mean(), (found == said.argmax(-1)).mean()]
            return hard_weight * hard + soft_weight * soft, jnp.stack(logs)

        seen = [quantize(w, s, jnp) for w, s in zip(weights, row["steps"], strict=True)]
        # Straight through: the gradient by what the network sees moves the latent weights.
        gradients, logs = jax.grad(loss, has_aux=True)(seen)
        momenta = [MOMENTUM * m - rate * g for m, g in zip(momenta, gradients, strict=True)]
        kept = [w * (1 - rate * row["decay"]) if w.ndim > 1 else w for w in weights]
        moves = zip(kept, momenta, gradients, strict=True)
        return ([w + MOMENTUM * m - rate * g for w, m, g in moves], momenta), logs

    state, logs = jax.lax.scan(step, state, (order.reshape(-1, batch), row["table"]))
    return state, logs.mean(0)


@functools.partial(jax.jit, static_argnums=(3, 4))
def statistics(weights: Any, data: Any, key: Any, student: Any, batch: int) -> list:
    """Returns batch norm's on 10,000 augmented training images: `μ = E[μ_B]`, `σ² = E[σ_B²] + Var[μ_B]`."""
    examples = jnp.arange(len(data[0]))
    views = draw_numbers(key, 0, examples, VIEWS, WORDS).astype(jnp.int32)
    order = draw_order(key, 0, examples, WORDS)
    order = order[: min(10_000, len(order)) // batch * batch].reshape(-1, batch)
    zeros = [jnp.zeros(variable.shape) for variable in student.non_trainable_variables]

    def one(_: None, rows: Any) -> tuple[None, list]:
        pixels = show(data[0], rows, views[rows], jnp).astype(jnp.float32)
        return None, student.stateless_call(weights, zeros, pixels, training=True)[1]

    # Averages with momentum 0.9 that start from 0 end at a tenth of what the batch has.
    found = [10 * each for each in jax.lax.scan(one, None, order)[1]]
    pairs = zip(found[::2], found[1::2], strict=True)
    return [each for m, v in pairs for each in (m.mean(0), v.mean(0) + m.var(0))]


@functools.partial(jax.jit, static_argnums=3)
def evaluate(variables: Any, data: Any, temperature: Any, student: Any) -> Any:
    """Returns accuracy, cross-entropy, and the mean entropy of the softened outputs."""
    batch = next(size for size in range(500, 0, -1) if len(data[0]) % size == 0)

    def one(_: None, now: Any) -> tuple[None, Any]:
        logits, _ = student.stateless_call(*variables, now[0].astype(jnp.float32), training=False)
        logs, soft = jax.nn.log_softmax(logits), jax.nn.log_softmax(logits / temperature)
        loss = -jnp.take_along_axis(logs, now[1][:, None], 1).mean()
        accuracy = (logits.argmax(-1) == now[1]).mean()
        return None, jnp.stack([accuracy, loss, -(jnp.exp(soft) * soft).sum(-1).mean()])

    batches = [each.reshape(-1, batch, *each.shape[1:]) for each in data]
    return jax.lax.scan(one, None, batches)[1].mean(0)
