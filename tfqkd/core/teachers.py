"""What stands for a teacher whose answers are known already."""


class LogitsInBatch:
    """The teacher whose logits come with the batch; use the one instance, `LOGITS_IN_BATCH`."""

    def __repr__(self) -> str:
        return "LOGITS_IN_BATCH"


LOGITS_IN_BATCH = LogitsInBatch()
"""A teacher for a `Distiller` that is trained on batches `((x, teacher_logits), y)`."""
