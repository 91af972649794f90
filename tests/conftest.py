"""What must stand before TensorFlow is imported, and the profile of the property tests."""

import os

from hypothesis import settings

# Read when TensorFlow is imported: its convolution gradients take half the time with oneDNN.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# The first example traces a graph, and the machine may be busy: time says nothing about a property.
settings.register_profile("tfqkd", deadline=None)
settings.load_profile("tfqkd")
