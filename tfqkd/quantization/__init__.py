"""Low-bit weight quantization: arithmetic, quantizers, tfmot configs and schemes, and whole models."""
