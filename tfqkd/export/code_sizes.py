"""How few bytes the codes of a model's quantized kernels could take."""

import numpy as np

from tfqkd.export.codes import CodedKernel, find_planes
from tfqkd.export.report import LayerPacking
from tfqkd.export.source import Source


def packings(source: Source) -> list[LayerPacking]:
    """Returns the packing of each quantized kernel that has codes, in the order of the layers."""
    return [
        _packing(layer, planes)
        for layer in source.owners.layers
        for rows in source.quantized.get(layer, ())
        if (planes := find_planes(rows, axis=0))
    ]


def _packing(layer: str, planes: tuple[CodedKernel, ...]) -> LayerPacking:
    # Two planes are two signs of one ternary code.
    codes = sum((plane.codes.astype(int) for plane in planes), start=np.zeros((), int))
    _, counts = np.unique(codes, return_counts=True)
    shares = counts / codes.size
    # The file's own width would flatter it where no type is as narrow as the codes: 3 bits take 4.
    bits = max(2, int(np.ceil(np.log2(len(counts)))))
    return LayerPacking(
        layer=layer,
        weights=codes.size,
        bits=bits,
        packed_bytes=codes.size * bits / 8,
        entropy_bits=float(-(shares * np.log2(shares)).sum()),
    )
