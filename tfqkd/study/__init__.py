"""Studies: one recipe tried at many settings and seeds, by any number of workers, over Optuna."""
