"""Codes of 2, 4 and 8 bits as bytes, the way TFLite and ONNX files hold them."""

import numpy as np

WIDTHS = (2, 4, 8)
"""Bits that a stored code may take."""


def width_of(lowest: int, highest: int) -> int:
    """Returns the fewest bits, of `WIDTHS`, that hold every code in lowest..highest.

    Raises:
        ValueError: If 8 bits are too few.
    """
    for bits in WIDTHS:
        if -(2 ** (bits - 1)) <= lowest and highest < 2 ** (bits - 1):
            return bits
    raise ValueError(
        f"Codes must be -128 to 127. Received: {lowest} to {highest}. Store the kernel as floats."
    )


def pack(codes: np.ndarray, bits: int) -> np.ndarray:
    """Packs codes, the first one in the lowest bits of the first byte.

    Args:
        codes: int8, of any shape, each −2^(bits−1) to 2^(bits−1) − 1.
        bits: 2, 4 or 8.

    Returns:
        uint8 [⌈codes · bits / 8⌉]; the last byte is filled up with zeros.
    """
    per_byte = 8 // bits
    flat = codes.reshape(-1).astype(np.int8).view(np.uint8) & np.uint8(2**bits - 1)
    flat = np.pad(flat, (0, -len(flat) % per_byte)).reshape(-1, per_byte)
    shifts = np.arange(per_byte, dtype=np.uint8) * np.uint8(bits)
    return np.bitwise_or.reduce(flat << shifts, axis=1).astype(np.uint8)


def unpack(data: np.ndarray, bits: int, count: int) -> np.ndarray:
    """Returns the codes that `pack` packed.

    Args:
        data: uint8 bytes.
        bits: 2, 4 or 8.
        count: How many codes there are.

    Returns:
        int8 [count].

    Raises:
        ValueError: If `data` has another length than `count` codes take.
    """
    per_byte = 8 // bits
    if len(data) != -(-count // per_byte):
        raise ValueError(
            f"{count} codes of {bits} bits take {-(-count // per_byte)} bytes. "
            f"Received: {len(data)} bytes. The file is damaged: copy it or export it again."
        )
    shifts = np.arange(per_byte, dtype=np.uint8) * np.uint8(bits)
    # Shifted up to the sign bit and back: the arithmetic shift of int8 restores the sign.
    spread = ((data[:, np.newaxis] >> shifts) << np.uint8(8 - bits)).astype(np.uint8)
    return (spread.view(np.int8) >> (8 - bits)).reshape(-1)[:count]
