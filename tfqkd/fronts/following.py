"""What makes a `Distiller` follow a scheduler; each front makes it a callback of its Keras."""

from typing import Any

from tfqkd.core.schedulers import Scheduler


class Following:
    """Assigns a scheduler's values to a setting of the distiller, by epoch or by step.

    Args:
        scheduler: What to follow.
    """

    model: Any
    params: Any

    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__()
        self._scheduler = scheduler

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Computes the whole schedule, so that a bad value is refused before the first step."""
        self._plan = self._scheduler.plan(self.params["epochs"], self.params.get("steps"))
        self._table_set = False

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Assigns the epoch's value, or sets the table of the steps at the first epoch."""
        scheduled = self.model.schedule(self._scheduler.setting)
        if not self._plan.by_step:
            scheduled.value.assign(self._plan.values[epoch])
        elif not self._table_set:
            # A run may go on at a later epoch.
            made = epoch * self.params["steps"] + self._scheduler.first_step
            self._follow(scheduled, self._plan.values, made)
            self._table_set = True

    def _follow(self, scheduled: Any, values: list[float], made: int) -> None:
        """Lets a variable take `values[made]` at the next step, and so on."""
        raise NotImplementedError
