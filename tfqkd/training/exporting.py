"""The files of a run's student: tried before anything is trained, written and verified in the end."""

import dataclasses
import json
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfqkd.data.images import ImageData
from tfqkd.export.choice import export
from tfqkd.runtime.outputs import LOGITS
from tfqkd.training.making import Maker
from tfqkd.training.products import EXPORT, REPORTS_FILE, Products
from tfqkd.training.stage import Stage

VERIFIED_IMAGES = 64
CALIBRATION_IMAGES = 500
"""On how many training images the ranges of activations are measured."""
TESTED_STREAMED = 5_000


def shown(data: ImageData) -> dict[str, Any]:
    """Returns the names, and the images to verify, calibrate and test on, as exporters take them.

    Of test images that are not held in memory, files are tested on up to `TESTED_STREAMED`.
    """
    test = data.test
    if test.is_streamed:
        test = test.thinned(TESTED_STREAMED)
    return {
        "class_names": data.class_names,
        "images": data.test.sample(VERIFIED_IMAGES),
        "calibration": data.train.sample(CALIBRATION_IMAGES),
        "centre_crop": data.centre_crop,
        "test": (np.asarray(test.images[:]), test.labels),
    }


def exported(
    maker: Maker,
    stage: Stage,
    formats: Sequence[str],
    products: Products,
    options: Mapping[str, int],
) -> pathlib.Path:
    """Returns the product of a stage's exported files, and the reports of their verification.

    Args:
        maker: Has made the stage.
        stage: What is exported.
        formats: Names of formats.
        products: Where it is kept. It is made by one process alone.
        options: Of the formats.
    """

    def make(partial: pathlib.Path) -> None:
        # An export that was killed leaves drafts, and nothing to go on with.
        shutil.rmtree(partial)
        partial.mkdir()
        model = maker.front.load(maker.path(stage))
        reports = export(model, partial, formats, output=LOGITS, **options, **shown(maker.data))
        listed = [
            {**dataclasses.asdict(report), "path": pathlib.Path(report.path).name}
            for report in reports
        ]
        (partial / REPORTS_FILE).write_text(json.dumps(listed, indent=2) + "\n")

    return products.get(
        EXPORT, export_key(maker, stage, formats, options), make, f"files of {stage.title}"
    )


def export_key(
    maker: Maker, stage: Stage, formats: Sequence[str], options: Mapping[str, int]
) -> dict[str, Any]:
    """Returns all that exported files depend on."""
    data = maker.data.fingerprint
    cut = {"centre_crop": True} if maker.data.centre_crop else {}
    return {"model": maker.name(stage), "formats": list(formats), "data": data, **cut, **options}
