"""Names under which a trial keeps what the report needs, in the storage."""

CONTROL = "control"
"""Of a control only: its settings."""
SETTINGS = "settings"
ERROR = "error"
"""Why a trial failed."""
QUEUED = "queued"
"""Of every trial of the plan. A trial without it was made by Optuna, which found the queue empty."""


def of_seed(seed: int) -> str:
    """Returns the name of the result of a seed."""
    return f"seed {seed}"
