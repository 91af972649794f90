"""Forbids the frameworks that the front must not import; TensorFlow only as the backend."""

import os
import sys

_FORBIDDEN = {"tf_keras", "tensorflow_model_optimization"}
if os.environ["KERAS_BACKEND"] != "tensorflow":
    _FORBIDDEN.add("tensorflow")


class _Forbidden:
    """Raises where one of them is imported."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in _FORBIDDEN:
            raise ModuleNotFoundError(f"{name} must not be imported here", name=name)


sys.meta_path.insert(0, _Forbidden())
