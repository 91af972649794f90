"""The tests of `inside` run in child processes, or by hand with TFQKD_INSIDE=1 and KERAS_BACKEND set."""

import os

collect_ignore = [] if os.environ.get("TFQKD_INSIDE") else ["inside"]
