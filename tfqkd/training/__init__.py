"""Training: what a run is, its stages, and what they leave in the run directory."""
