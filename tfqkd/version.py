"""The version of the package; products of a run carry it in their fingerprint."""

__version__ = "0.1.0"
