"""Forbids the frameworks that the front must not import; TensorFlow only as the backend."""

import importlib.machinery
import os
import sys

import pytest

_FORBIDDEN = {"tf_keras", "tensorflow_model_optimization"}
if os.environ["KERAS_BACKEND"] != "tensorflow":
    _FORBIDDEN.add("tensorflow")


class _Forbidden:
    """Raises where one of them is imported; to look whether it is installed is no import."""

    def find_spec(self, name, path=None, target=None):
        forbidden = name.partition(".")[0] in _FORBIDDEN
        return importlib.machinery.ModuleSpec(name, self) if forbidden else None

    def create_module(self, spec):
        raise ModuleNotFoundError(f"{spec.name} must not be imported here", name=spec.name)

    def exec_module(self, module):
        raise NotImplementedError


sys.meta_path.insert(0, _Forbidden())

if os.environ["KERAS_BACKEND"] == "tensorflow":
    import tensorflow as tf

    # Before anything is computed: two devices for the tests of replicas.
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)


@pytest.fixture(autouse=True)
def seeded():
    import keras

    keras.utils.set_random_seed(11)
