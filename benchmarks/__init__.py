"""Measures tfqkd on the machine it runs on, beside its peers: `python -m benchmarks --help`."""
