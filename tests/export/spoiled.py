"""Files that are made wrong, for the tests of several rooms."""

from tfqkd.export import ExportError, writing


def spoil_float16(monkeypatch) -> None:
    """Lets files of float16 weights crash on the test images."""
    run_file = writing.run_file

    def crash(runner, draft, images):
        if "float16" in draft.name:
            raise ExportError(f"A file must run ({draft.name}). Received: a crash.")
        return run_file(runner, draft, images)

    monkeypatch.setattr(writing, "run_file", crash)
