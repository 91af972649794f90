"""Low-bit weight quantization: arithmetic, quantizers, tfmot configs and schemes, and whole models.

Importing it tells Keras all classes that a saved model may name.
"""

from tfqkd.quantization import (  # noqa: F401 (each registers its classes)
    configs,
    layers,
    wrapper,
)
