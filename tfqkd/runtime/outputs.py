"""What a model returns: logits, probabilities, or values that are neither."""

import numpy as np

LOGITS, SIGMOID_LOGITS = "logits", "sigmoid_logits"
SOFTMAX, SIGMOID = "softmax", "sigmoid"
VALUES = "values"
OUTPUTS = {
    LOGITS: "logits, whose softmax are the probabilities of the classes",
    SIGMOID_LOGITS: "logits, each of which has a sigmoid that is a probability of its own",
    SOFTMAX: "probabilities of the classes, by softmax",
    SIGMOID: "probabilities, each of its own, by sigmoid",
    VALUES: "values that are no probabilities",
}
"""What a model may return, in words. Files say it in the entry `output` of their metadata."""
SIGNATURE_NAMES = {
    LOGITS: "logits",
    SIGMOID_LOGITS: "logits",
    SOFTMAX: "probabilities",
    SIGMOID: "probabilities",
    VALUES: "values",
}
"""What the signature of a file calls what it returns."""


def probabilities(outputs: np.ndarray, output: str) -> np.ndarray | None:
    """Returns the probabilities that outputs stand for, in their order; None for values.

    Args:
        outputs: What a model returned, [N, classes].
        output: What that is, of `OUTPUTS`.
    """
    if output in (SOFTMAX, SIGMOID):
        return outputs
    if output == LOGITS:
        shares = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        return shares / shares.sum(axis=1, keepdims=True)
    if output == SIGMOID_LOGITS:
        # exp of what is not positive cannot overflow.
        decay = np.exp(-np.abs(outputs))
        return np.where(outputs < 0, decay, 1) / (1 + decay)
    return None
