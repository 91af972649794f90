"""A model of either Keras that is not saved: another one in it is."""

from typing import Any


class Unsaved:
    """Refuses to be saved as a whole; its weights alone may be. To stand before `keras.Model`.

    `keras.models.save_model` and `ModelCheckpoint` end here too.
    """

    def save(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Refuses: a file could not hold the teacher, which may be any function. Save the student.

        Raises:
            ValueError: Always.
        """
        del args, kwargs
        raise _refusal(str(filepath))

    def get_config(self) -> dict[str, Any]:
        """Refuses as `save` does."""
        raise _refusal("a request for its config")


def _refusal(received: str) -> ValueError:
    return ValueError(
        "A Distiller cannot be saved, because its teacher may be any function; its student can: "
        f"distiller.student.save(...). Received: {received}. Let a ModelCheckpoint keep weights alone "
        "(save_weights_only=True), or save the student in a callback of your own."
    )
