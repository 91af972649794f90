"""A folder that a model hub takes: a card with a header that hubs read, and the files."""

import os
import pathlib
import re
import shutil

from tfqkd.models.pretrained import pretrained_names, shipped_files
from tfqkd.recipe.flag_file import flag_file
from tfqkd.storage import staged
from tfqkd.training.directory import RECIPE_FILE, read_recipe
from tfqkd.training.results import Results
from tfqkd.training.run import EXPORT_DIRECTORY

CARD_FILE = "README.md"
_LINK = re.compile(r"\[([^\]]+)\]\((?!https?:)[^)]+\)")
_CARD = """---
license: {licence}
library_name: tfqkd
pipeline_tag: image-classification
tags: [keras, quantization, knowledge-distillation]
metrics: [accuracy]
model-index:
- name: {name}
  results:
  - task: {{type: image-classification}}
    dataset: {{type: {dataset}, name: {dataset}, split: test}}
    metrics:
    - {{type: accuracy, value: {accuracy:.2f}}}
---
# {name}

{student}, trained with tfqkd ([{paper}](https://{paper})). It reaches **{accuracy:.2f} %** on the test images
of {dataset}, measured once, after the last epoch.

| model | network | parameters | quantized % | test accuracy % |
|---|---|---|---|---|
{models}

| file | bytes | test accuracy % |
|---|---|---|
{files}

| | |
|---|---|
| input | pixels 0 to 255 |
| classes | {classes} |
| data, its origin and licence | {dataset}: {origin} |
| recipe | `{recipe_file}`; `recipe.flags` for `bin/train --flagfile=recipe.flags` |
| licence of the network | {licence} |

```python
import tfqkd

model = tfqkd.export.load("{first}")       # from pixels to logits; model.class_names
```
"""
_PAPER = "arxiv.org/abs/1909.01688"


def save_to_folder(
    source: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    licence: str = "",
    data_origin: str = "",
) -> pathlib.Path:
    """Writes a folder that a model hub takes as it is: `README.md`, a card with a header, and the files.

    Nothing is sent anywhere: `hf upload NAME FOLDER` is yours to type.

    Example:
        ```python
        tfqkd.save_to_folder("resnet20_ternary_cifar100", "hub")
        tfqkd.save_to_folder("runs/photos", "hub", licence="mit", data_origin="our own photographs, CC0")
        ```

    Args:
        source: A network that comes with tfqkd, by name, or the directory of a finished run.
        folder: Where to; replaced as a whole if it exists.
        licence: Of a run's network, as hubs call it, such as "apache-2.0". Those that come along have one.
        data_origin: Of a run: where its images are from, and under which licence.

    Returns:
        The folder.

    Raises:
        ValueError: If the run is not finished or has no exported file, or its licence or the origin of its
            data is not said.
    """
    target = pathlib.Path(folder)
    with staged(target) as draft:
        draft.mkdir()
        if str(source) in pretrained_names():
            _write_shipped(str(source), draft)
        else:
            _write_run(pathlib.Path(source), draft, target.name, licence, data_origin)
    return target


def _write_shipped(name: str, draft: pathlib.Path) -> None:
    *files, card = shipped_files(name)
    for file in files:
        shutil.copy(file, draft)
    # What the card links to is not there.
    text = _LINK.sub(r"\1", card.read_text(encoding="utf-8"))
    (draft / CARD_FILE).write_text(text, encoding="utf-8")


def _write_run(
    run: pathlib.Path, draft: pathlib.Path, name: str, licence: str, data_origin: str
) -> None:
    results, recipe = Results.read(run), read_recipe(run)
    if not results.export:
        raise ValueError(
            f"A folder for a hub needs an exported file. Received: {run}, which has none. Give bin/train "
            "--formats, or run bin/export first."
        )
    if not licence or not data_origin:
        raise ValueError(
            "A shared network must state its licence and where its images come from. Received: "
            f"licence={licence!r}, data_origin={data_origin!r}. Give both."
        )
    for file in results.export:
        exported = run / EXPORT_DIRECTORY / file.path
        (shutil.copytree if exported.is_dir() else shutil.copy)(exported, draft / exported.name)
    shutil.copy(run / RECIPE_FILE, draft)
    (draft / "recipe.flags").write_text(flag_file(recipe), encoding="utf-8")
    student = results.student
    models = "\n".join(
        f"| {one.label} | {one.name} | {one.parameters:,} | {100 * one.quantized_share:.1f} | "
        f"{100 * one.accuracy:.2f} |"
        for one in results.models
    )
    files = "\n".join(
        f"| `{one.path}` | {one.bytes:,} | "
        f"{'' if one.accuracy is None else f'{100 * one.accuracy:.2f}'} |"
        for one in results.export
    )
    card = _CARD.format(
        licence=licence,
        name=name,
        dataset=recipe.data.dataset.rpartition("/")[2],
        accuracy=100 * student.accuracy,
        student=f"A {student.name} with {100 * student.quantized_share:.0f} % quantized weights",
        paper=_PAPER,
        models=models,
        files=files,
        classes=", ".join(results.class_names),
        origin=data_origin,
        recipe_file=RECIPE_FILE,
        first=results.export[-1].path,
    )
    (draft / CARD_FILE).write_text(card, encoding="utf-8")
