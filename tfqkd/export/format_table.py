"""Which format is for what: targets, what computes in what width, and where it was tried."""

from tfqkd.export.formats import FORMATS
from tfqkd.tables import Table

_PHONE = "phone, desktop, Raspberry Pi"
_X86 = "x86-64 (AVX2, AVX-512 VNNI), Linux"
_INTEGER = "phone, desktop, Raspberry Pi; int8 compilers of NPUs; Cortex-M"
_MICRO = "TFLM's interpreter on x86-64, no microcontroller"
_SERVER = "desktop, server; int8 compilers of NPUs"
_NOTES = {
    "saved_model": ("server with TensorFlow", "float32", _X86),
    "keras": ("Python with tf_keras", "float32", _X86),
    "litert-float32": (_PHONE, "float32", _X86),
    "litert-float16": ("phone GPU; elsewhere as float32", "float32, of float16 weights", _X86),
    "litert-int8": (_PHONE, "float32, of int8 codes", _X86),
    "litert-int8-full": (_INTEGER, "int8 by measured ranges", _X86),
    "litert-int2": (_PHONE, "float32, of 2-bit codes", _X86),
    "litert-w8a8": (_INTEGER, "int8 by trained steps", _X86),
    "litert-w4a8": (_INTEGER, "int8 by trained steps", _X86),
    "litert-w2a8": (_INTEGER, "int8 by trained steps", _X86),
    "litert-w2a8-packed": ("the download of litert-w2a8", "nothing before it is widened", _X86),
    "tflm": ("Cortex-M and other microcontrollers", "int8 by trained steps", _MICRO),
    "onnx-float32": ("desktop, server", "float32", _X86),
    "onnx-int2": ("desktop, server", "float32, of 2-bit codes", _X86),
    "onnx-w8a8": (_SERVER, "int8 by trained steps", _X86),
    "onnx-w2a8": (_SERVER, "int8 by trained steps, of 2-bit codes", _X86),
}
"""By format; the rest of what it is made for has not been tried."""


def format_table(markdown: bool = False) -> str:
    """Returns the table of all formats.

    Args:
        markdown: For a page; else for the terminal.
    """
    headings = ("format", "for", "computes in", "tried on")
    table = Table(*headings, text=headings)
    for name in FORMATS:
        table.add(name, *_NOTES[name])
    return table.markdown() if markdown else str(table)
