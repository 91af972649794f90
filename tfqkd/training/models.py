"""Models of a run: told apart, and refused where they do not fit."""

import pathlib
from collections.abc import Sequence

from tfqkd.data.images import ImageData
from tfqkd.fronts.front import Facts
from tfqkd.storage import tree_digest


def model_key(path: pathlib.Path) -> str:
    """Returns what a model is, for a fingerprint: the product it lies in, or its contents."""
    product = path.parent / "product.json"
    return path.parent.name if product.exists() else tree_digest(path)


def require_different(paths: Sequence[pathlib.Path]) -> None:
    """Refuses saved teachers of which two are the same file under two names.

    Raises:
        ValueError: If there are such.
    """
    named: dict[str, pathlib.Path] = {}
    for path in paths:
        same = named.setdefault(model_key(path), path)
        if same is not path:
            raise ValueError(
                "Several teachers must be different models: the same one twice is one teacher. "
                f"Received: {path}, which holds what {same} does. Name it once."
            )


def require_fit(name: str, model: Facts, data: ImageData) -> None:
    """Refuses a model whose images or classes are not those of a data set.

    Raises:
        ValueError: If it is such a model.
    """
    shapes = (model.input_shape, model.output_shape)
    wanted = (tuple(data.image_shape), (data.classes,))
    fits = all(
        have in (None, want)
        for has, wants in zip(shapes, wanted, strict=True)
        for have, want in zip(has, wants, strict=len(has) == len(wants))
    )
    if not fits or any(len(has) != len(want) for has, want in zip(shapes, wanted, strict=True)):
        raise ValueError(
            f"A model must fit the data set {data.name}: images {wanted[0]}, {data.classes} classes. "
            f"Received: {name}, from {shapes[0]} to {shapes[1]}. Choose another model or data set."
        )
