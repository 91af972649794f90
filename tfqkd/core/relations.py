"""What relations are compared by: between the examples of a batch, and between the layers of a network."""

from tfqkd.core.ops import Ops, Tensor
from tfqkd.core.probabilities import unit


def distance_loss(student: Tensor, teacher: Tensor, ops: Ops) -> Tensor:
    """Returns RKD-D: how the distances between examples differ, relative to their mean (arXiv 1904.05068).

    With `d_ij = ‖e_i - e_j‖` and μ their mean over pairs i ≠ j, it is the mean over all B² pairs of
    `h(d_ij^S/μ^S - d_ij^T/μ^T)`, h the Huber loss with δ = 1. The rotation, shift, scale and number of
    dimensions of either side do not matter.

    The examples are those that are computed together: on a replica of `tf.distribute` its own alone.

    Args:
        student: Embeddings, float `[batch, dimensions]`.
        teacher: Embeddings, `[batch, any number]`. Treated as constant.
        ops: The table of their framework.

    Returns:
        Float32 scalar; 0 for one example.
    """
    both = _relative_distances(student, ops), _relative_distances(teacher, ops)
    return ops.mean(_huber(both[0] - ops.stop_gradient(both[1]), ops))


def angle_loss(student: Tensor, teacher: Tensor, ops: Ops) -> Tensor:
    """Returns RKD-A: how the angles at each example between two others differ (arXiv 1904.05068).

    It is the mean over all B³ triples of `h(cos∠^S - cos∠^T)`, h the Huber loss with δ = 1, where the
    cosine at example i is `⟨u_ij, u_ik⟩`, `u_ij` of length 1 from i to j, and 0 where both coincide.

    Args:
        student: Embeddings, float `[batch, dimensions]`.
        teacher: Embeddings, `[batch, any number]`. Treated as constant.
        ops: The table of their framework.

    Returns:
        Float32 scalar; 0 for one example.
    """
    difference = _cosines(student, ops) - ops.stop_gradient(_cosines(teacher, ops))
    return ops.mean(_huber(difference, ops))


def flow(lower: Tensor, upper: Tensor, ops: Ops) -> Tensor:
    """Returns the flow of solution procedure, FSP: `G = F₁ᵀF₂/(H·W)` of two layers (CVPR 2017, Yim et al.).

    Where the lower maps are larger, by a whole factor, means over their squares are taken first.

    Args:
        lower: `F₁`, float `[batch, H·m, W·n, C₁]`.
        upper: `F₂`, `[batch, H, W, C₂]`.
        ops: The table of their framework.

    Returns:
        Float32 `[batch, C₁, C₂]`.
    """
    batch, height, width, channels = ops.shape(upper)
    lower = _pooled(ops.cast(lower, "float32"), height, width, ops)
    rows = ops.reshape(lower, (batch, height * width, ops.shape(lower)[-1]))
    columns = ops.reshape(ops.cast(upper, "float32"), (batch, height * width, channels))
    product = ops.matmul(ops.transpose(rows, (0, 2, 1)), columns)
    return product / ops.cast(height * width, "float32")


def flow_loss(student: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor], ops: Ops) -> Tensor:
    """Returns the mean of `(G_S - G_T)²` over the elements of FSP, for each example.

    Args:
        student: Two of its maps, the lower one first; see `flow`.
        teacher: Two of its maps of the same channels. Treated as constant.
        ops: The table of their framework.

    Returns:
        Float32 `[batch]`.
    """
    difference = flow(*student, ops) - ops.stop_gradient(flow(*teacher, ops))
    return ops.mean(difference**2, axis=(1, 2))


def _relative_distances(embeddings: Tensor, ops: Ops) -> Tensor:
    squares = ops.sum(_differences(embeddings, ops) ** 2, axis=-1)
    count = ops.shape(squares)[0]
    numbers = ops.arange(count, dtype="int32")
    itself = ops.equal(numbers[:, None], numbers)
    # The root has no gradient at zero: neither an example and itself nor two equal ones pass one.
    distances = ops.where(itself, 0.0, ops.sqrt(ops.maximum(squares, 1e-12)))
    pairs = ops.cast(ops.maximum(count * (count - 1), 1), "float32")
    return ops.divide_no_nan(distances, ops.sum(distances) / pairs)


def _cosines(embeddings: Tensor, ops: Ops) -> Tensor:
    towards = unit(_differences(embeddings, ops), -1, ops)
    return ops.matmul(towards, ops.transpose(towards, (0, 2, 1)))


def _differences(embeddings: Tensor, ops: Ops) -> Tensor:
    """`e_j - e_i` at `[i, j]`."""
    embeddings = ops.cast(embeddings, "float32")
    return embeddings[None] - embeddings[:, None]


def _huber(values: Tensor, ops: Ops) -> Tensor:
    magnitude = ops.abs(values)
    return ops.where(magnitude < 1, values**2 / 2, magnitude - 0.5)


def _pooled(maps: Tensor, height: int, width: int, ops: Ops) -> Tensor:
    batch, above, beside, channels = ops.shape(maps)
    if (above, beside) == (height, width):
        return maps
    parts = (batch, height, above // height, width, beside // width, channels)
    return ops.mean(ops.reshape(maps, parts), axis=(2, 4))
