"""A model as C source: an array that is compiled into the program of a microcontroller."""

import re
from collections.abc import Sequence

import numpy as np

from tfqkd.export.integer.graph import Graph
from tfqkd.version import __version__

_A_LINE = 16
_SPECIAL = re.compile(rb'[^ -~]|["\\?]')
_ADDED_AS = {
    "CONV_2D": "AddConv2D",
    "DEPTHWISE_CONV_2D": "AddDepthwiseConv2D",
    "FULLY_CONNECTED": "AddFullyConnected",
    "ADD": "AddAdd",
    "MEAN": "AddMean",
    "MAX_POOL_2D": "AddMaxPool2D",
    "PAD": "AddPad",
    "RESHAPE": "AddReshape",
    "DECODE": "AddDecode",
}
"""How TFLM's MicroMutableOpResolver is told of an operator."""
_HEADER = """\
/* A model for TensorFlow Lite Micro, written by tfqkd {version}.
 *
 * Input: int8 [1, {height}, {width}, {channels}], each pixel (0 to 255) less 128.
 * Output: int8 [1, {outputs}]; a value is TFQKD_OUTPUT_SCALE * (code - TFQKD_OUTPUT_ZERO_POINT).
 *
 * tflite::MicroMutableOpResolver<{count}> resolver;
{added}
 */
#ifndef TFQKD_MODEL_H_
#define TFQKD_MODEL_H_

#ifdef __cplusplus
extern "C" {{
#endif

#define TFQKD_MODEL_BYTES {size}u
#define TFQKD_ARENA_BYTES {arena}u /* That of TFLM's interpreter on x86-64. */
#define TFQKD_HEIGHT {height}
#define TFQKD_WIDTH {width}
#define TFQKD_CHANNELS {channels}
#define TFQKD_OUTPUTS {outputs}
#define TFQKD_OUTPUT_SCALE {scale}f
#define TFQKD_OUTPUT_ZERO_POINT ({zero_point})

extern const unsigned char tfqkd_model[TFQKD_MODEL_BYTES];
{names}
#ifdef __cplusplus
}}
#endif

#endif
"""
_SOURCE = """\
#include "model.h"

#ifdef __cplusplus
#define TFQKD_ALIGNED alignas(16)
#else
#define TFQKD_ALIGNED _Alignas(16)
#endif

TFQKD_ALIGNED const unsigned char tfqkd_model[TFQKD_MODEL_BYTES] = {{
{rows}
}};
{names}"""


def header(
    content: bytes,
    graph: Graph,
    arena_bytes: int,
    operators: Sequence[str],
    class_names: Sequence[str] | None,
) -> str:
    """Returns the header, `model.h`: what the program must know of a model.

    Args:
        content: The file.
        graph: What it computes.
        arena_bytes: How many bytes its tensors and structures take.
        operators: The operators that it needs, by their names in the schema.
        class_names: Of its outputs.
    """
    (height, width, channels), last = graph.tensors[0].shape, graph.tensors[-1]
    declared = "extern const char* const tfqkd_class_names[TFQKD_OUTPUTS];\n"
    return _HEADER.format(
        version=__version__,
        size=len(content),
        arena=arena_bytes,
        height=height,
        width=width,
        channels=channels,
        outputs=last.shape[0],
        scale=repr(float(last.scale)),
        zero_point=last.zero_point,
        count=len(operators),
        added="\n".join(f" * resolver.{_ADDED_AS[name]}();" for name in operators),
        names="" if class_names is None else declared,
    )


def source(content: bytes, class_names: Sequence[str] | None) -> str:
    """Returns the array, `model.c`, which may be compiled as C11 or as C++."""
    values = np.frombuffer(content, np.uint8).tolist()
    starts = range(0, len(values), _A_LINE)
    rows = [", ".join(map(str, values[start : start + _A_LINE])) for start in starts]
    names = ""
    if class_names is not None:
        listed = "\n".join(f"    {_quoted(name)}," for name in class_names)
        names = f"\nconst char* const tfqkd_class_names[TFQKD_OUTPUTS] = {{\n{listed}\n}};\n"
    return _SOURCE.format(rows=",\n".join(f"    {row}" for row in rows), names=names)


def bytes_of(text: str) -> bytes:
    """Returns the bytes of the array in a source that `source` returned."""
    _, _, behind = text.partition("= {")
    return bytes(int(value) for value in behind.partition("}")[0].split(","))


def _quoted(name: str) -> str:
    """Returns a name as a C string; a question mark may begin a trigraph."""
    inner = _SPECIAL.sub(lambda found: b"\\%03o" % found[0][0], name.encode())
    return f'"{inner.decode()}"'
