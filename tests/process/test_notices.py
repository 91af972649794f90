import logging
import os

import pytest

from tfqkd.process.notices import without_notices


def test_notices_are_dropped_and_all_else_reaches_stderr(capfd):
    logger = logging.getLogger("tensorflow")
    level = logger.level
    with pytest.raises(ValueError, match="ours"), without_notices():
        os.write(2, b"W0000 00:00:1795778432.470706    6690 flatbuffer.cc:364] Ignored.\n")
        os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n")
        os.write(2, b"E0000 00:00:1795778432.470706    6690 flatbuffer.cc:364] Broken.\n")
        os.write(2, b"a user's line\n")
        raise ValueError("ours")
    assert capfd.readouterr().err == (
        "E0000 00:00:1795778432.470706    6690 flatbuffer.cc:364] Broken.\na user's line\n"
    )
    assert logger.level == level
