"""Keeps what TensorFlow, its converters and LiteRT say of themselves out of a user's program."""

import contextlib
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator

# "I0000 00:00:1795778432.471162    6690 reader.cc:83] Reading SavedModel from: ..."
_NOTICE = re.compile(
    rb"[IW]\d{4} [\d:.]+\s+\d+ \S+\.(cc|h):\d+\] |WARNING: All log messages before absl::|INFO: Created "
)


@contextlib.contextmanager
def without_notices() -> Iterator[None]:
    """Drops what TensorFlow and LiteRT say of themselves meanwhile; all else reaches stderr after.

    C++ writes to the file descriptor, past `sys.stderr` and after TensorFlow has read its log level.
    """
    logger = logging.getLogger("tensorflow")
    level = logger.level
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            said.seek(0)
            for line in said:
                if not _NOTICE.match(line):
                    os.write(2, line)
