"""The fronts: each makes tfqkd's core work on one Keras."""
