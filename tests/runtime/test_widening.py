"""Packed files, built here by hand and by the exporter, widened in Python and in C++."""

import ctypes
import pathlib
import struct
import subprocess
import zlib

import numpy as np
import pytest

import tfqkd.runtime
from tfqkd.runtime.widening import HEADER, is_packed, widen

SOURCE = pathlib.Path(tfqkd.runtime.__file__).with_name("widen.cc")


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    """The C++ file, compiled as an app would, with every warning an error."""
    path = tmp_path_factory.mktemp("widen") / "widen.so"
    flags = ["-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run(["g++", *flags, str(SOURCE), "-o", str(path)], check=True)
    loaded = ctypes.CDLL(str(path))
    loaded.tfqkd_widened_size.restype = ctypes.c_size_t
    loaded.tfqkd_widened_size.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    loaded.tfqkd_widen.argtypes = [
        ctypes.c_char_p,
        ctypes.c_size_t,
        ctypes.c_char_p,
        ctypes.c_size_t,
    ]
    return loaded


def in_cpp(library, content):
    """Returns what C++ widens a file to; None if it refuses. It must not write behind the end."""
    size = library.tfqkd_widened_size(content, len(content))
    if not 0 < size < 2**24:
        return None
    out = ctypes.create_string_buffer(b"\x5a" * (size + 16), size + 16)
    refused = library.tfqkd_widen(content, len(content), out, size)
    assert out.raw[size:] == b"\x5a" * 16
    return None if refused else out.raw[:size]


def packed(whole, *segments):
    return HEADER.pack(1, b"TFQP", len(whole), zlib.crc32(whole), len(segments)) + b"".join(
        segments
    )


SCALES = np.array([0.1, 3.7, -2.5], np.float32)
STEP = np.float32(0.0371)
WHOLE = b"".join(
    [
        b"begin",
        bytes(300),
        np.array([-64, 0, 64, 64, 0, -64, 0], np.int8).tobytes(),
        (SCALES * STEP).tobytes(),
        SCALES.tobytes(),
        np.array([5, 9, -3, 5, 7], np.int8).tobytes(),
        np.array([1.5, 0.75, 1 + 2**-12], np.float32).tobytes(),
        np.array([5 << 2, -4095 << 5, 2048 << 9, 0], np.int32).tobytes(),
        b"again",
        b"ainainai",
        b"begin",
    ]
)
SEGMENTS = [
    b"\x00\x05begin",
    b"\x01\xac\x02",  # 300 = 44 + 2 · 128.
    b"\x02\x07\x02" + bytes([192, 0, 64, 0]) + bytes([0b10100100, 0b00010001 & 0b00111111]),
    b"\x03\x03" + struct.pack("<f", STEP) + bytes([0xC4, 0x02]),  # 324 = 5 + 300 + 7 + 12.
    b"\x00\x0c" + SCALES.tobytes(),
    b"\x02\x05\x03" + bytes([5, 9, 253, 7, 0, 0, 0, 0]) + bytes([0b10001000, 0b00110000]),
    b"\x04\x03\x7e" + struct.pack("<3H", 0x1800, 0x0800, 0x1001),  # 126: the exponent of 0.75.
    b"\x05\x04\x02" + struct.pack("<4H", 5, 0x8000 | 3 << 12 | 4095, 7 << 12 | 2048, 0),
    b"\x00\x05again",
    b"\x06\x08\x03",  # Repeats the last three bytes.
    b"\x06\x05" + bytes([0x80 | 382 % 128, 382 // 128]),
]


def test_segments_of_all_kinds_are_widened_alike_in_python_and_in_cpp(library):
    content = packed(WHOLE, *SEGMENTS)
    assert is_packed(content) and not is_packed(WHOLE)
    assert widen(content) == WHOLE
    assert in_cpp(library, content) == WHOLE


def test_any_damage_is_refused_in_both(library):
    content = packed(WHOLE, *SEGMENTS)
    # The last bits of the last codes stand for nothing.
    for index in range(len(content) - 1):
        spoiled = bytearray(content)
        spoiled[index] ^= 0x55
        if bytes(spoiled[:8]) != content[:8]:
            assert not library.tfqkd_widened_size(bytes(spoiled), len(spoiled))
        else:
            assert in_cpp(library, bytes(spoiled)) in (None, WHOLE)
        try:
            assert widen(bytes(spoiled)) == WHOLE
        except ValueError as error:
            assert "must be whole" in str(error)


def test_a_file_that_is_cut_short_is_refused_in_both(library):
    content = packed(WHOLE, *SEGMENTS)
    for length in range(len(content)):
        assert in_cpp(library, content[:length]) is None
        with pytest.raises(ValueError, match="must be whole"):
            widen(content[:length])


def test_too_little_room_is_refused(library):
    content = packed(WHOLE, *SEGMENTS)
    out = ctypes.create_string_buffer(len(WHOLE))
    assert library.tfqkd_widen(content, len(content), out, len(WHOLE) - 1) == 1
    assert library.tfqkd_widen(content, len(content), out, len(WHOLE)) == 0
