"""What the steps of a `Distiller` noted of labels and of a teacher's outputs, looked at outside the graph."""

import contextlib
from collections.abc import Iterator

import keras
import numpy as np

from tfqkd.fronts.keras3.notes import Notes
from tfqkd.fronts.keras3.replicas import copies


class Inspection:
    """Raises errors about what was noted.

    Args:
        distiller: Whose steps noted it.
        notes: Theirs.
    """

    def __init__(self, distiller: keras.Model, notes: Notes) -> None:
        self._distiller, self._notes = distiller, notes

    def forget(self) -> None:
        """Forgets what was noted."""
        self._notes.forget()

    def require_labels(self) -> None:
        """Raises ValueError if labels were out of range of the student's classes."""
        self._notes.require_labels(self._noted())

    def require_all(self) -> None:
        """Raises ValueError if labels were out of range, or the teacher's outputs are probabilities."""
        self.require_labels()
        self._notes.require_logits(self._noted())

    @contextlib.contextmanager
    def labels_explained(self) -> Iterator[None]:
        """Looks at the labels where a step failed, as a loss does on TensorFlow and PyTorch."""
        try:
            yield
        except Exception:
            # On JAX it never does; a step that failed there has left no state to look at.
            if keras.backend.backend() != "jax":
                self.require_labels()
            raise

    def _noted(self) -> list[np.ndarray]:
        """What each replica's steps noted."""
        if hasattr(self._distiller, "jax_state_sync"):
            self._distiller.jax_state_sync()
        return copies(self._distiller, self._notes.variable)
