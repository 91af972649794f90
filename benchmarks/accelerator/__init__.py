"""Trains the rows of the table on a GPU machine without network and TensorFlow (docs/performance.md)."""
