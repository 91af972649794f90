import dataclasses
import pathlib

import numpy as np
import pytest

from tfqkd.compat import keras
from tfqkd.export import Report, export

from . import classifier
from .in_process import files_run_here


@dataclasses.dataclass(frozen=True)
class Exported:
    """The classifier and what `export` wrote."""

    model: keras.Model
    codes: dict[str, np.ndarray]
    directory: pathlib.Path
    reports: dict[str, Report]


@pytest.fixture
def in_this_process():
    """Runs exported files in this process."""
    with files_run_here():
        yield


@pytest.fixture(scope="session")
def exported(tmp_path_factory) -> Exported:
    """All formats of the small classifier; tests must not change them."""
    model, codes = classifier.build()
    directory = tmp_path_factory.mktemp("exported")
    names = classifier.CLASS_NAMES
    # A process for TensorFlow takes seconds; test_notices.py has one.
    with files_run_here():
        reports = export(model, directory, "saved_model", class_names=names)
    formats = ["litert-float32", "litert-int8", "litert-int2"]
    reports += export(model, directory, formats, class_names=names)
    return Exported(model, codes, directory, {report.format: report for report in reports})
