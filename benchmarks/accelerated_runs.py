"""Keeps in `results/accelerator` the runs of `bin/train` that a GPU machine sent back.

    python -m benchmarks.accelerated_runs runs/back/cifar10 results/accelerator/cifar10 'NVIDIA H100'

The folder is one to go on with: `--products` finds its networks, and so do the rows of
`benchmarks.accelerator.run`.
"""

import json
import pathlib
import shutil
import sys
from typing import Any

from benchmarks.shipping import compress
from tfqkd.storage import write_atomically
from tfqkd.training.products import HISTORY_FILE, KEY_FILE, LAYERS_FILE, MODEL_FILE, SUMMARY_FILE

DEVICE_FILE = "device.txt"


def keep(runs: pathlib.Path, folder: pathlib.Path, device: str) -> None:
    """Copies run directories that are done, and the products that they name.

    Args:
        runs: What came back: run directories, and `products`.
        folder: Where they are kept.
        device: What trained them.
    """
    for done in sorted(runs.glob("*/results.json")):
        to = folder / done.parent.name
        to.mkdir(parents=True, exist_ok=True)
        for file in (*done.parent.glob("*.json"), *done.parent.glob("*.txt")):
            if file.name != "command.txt":  # It names places of that machine.
                shutil.copyfile(file, to / file.name)
        for model in _trained(done):
            source, to = runs / "products" / model["stage"], folder / "products" / model["stage"]
            to.mkdir(parents=True, exist_ok=True)
            for name in (KEY_FILE, HISTORY_FILE, SUMMARY_FILE, LAYERS_FILE):
                shutil.copyfile(source / name, to / name)
            if not (to / MODEL_FILE).exists():
                compress(source / MODEL_FILE, to / MODEL_FILE)
    write_atomically(folder / DEVICE_FILE, f"{device}\n")


def stages(folder: pathlib.Path) -> dict[str, dict[str, Any]]:
    """Returns what is known of each network, by the name of its stage.

    A float student is `float.SEED`, or `taught.SEED` if it had a teacher; what a row ends with has the
    row's name.
    """
    found: dict[str, dict[str, Any]] = {}
    names: dict[str, str] = {}
    for done in sorted(folder.glob("*/results.json")):
        row = done.parent.name
        for model in _trained(done):
            product = folder / "products" / model["stage"]
            key = json.loads((product / KEY_FILE).read_text(encoding="utf-8"))
            taught = "taught" if key.get("teachers") else "float"
            known = {"teacher": "teacher", "student": f"{taught}.{model['seed']}"}
            name = known.get(model["role"], row)
            if model["role"] == "student" and model["stage"] in names:
                continue
            names.setdefault(model["stage"], name)
            found.setdefault(names[model["stage"]], _said(folder, done.parent, model, key))
    for said in found.values():
        for end in ("start", "teacher"):
            said["stage"][end] = names.get(said["stage"][end], "")
    return found


def _trained(done: pathlib.Path) -> list[dict[str, Any]]:
    """Returns what a run says of its networks, but for files that it was given: another run trained these."""
    models = json.loads(done.read_text(encoding="utf-8"))["models"]
    return [model for model in models if model["stage"]]


def _said(folder: pathlib.Path, run: pathlib.Path, model: dict, key: dict) -> dict[str, Any]:
    training, distillation = key["training"], key.get("distillation") or {}
    coefficient = distillation.get("coefficient", {})
    stage = {
        "network": model["name"],
        "epochs": training["epochs"],
        "rate": training["learning_rate"],
        "seed": model["seed"],
        "start": key.get("start", ""),
        "teacher": next(iter(key.get("teachers", ())), ""),
        "ternary": model["quantized_share"] > 0,
        "coefficient": [coefficient.get("start", 0.0), coefficient.get("end", 0.0)],
        "soft": distillation.get("soft_loss", "none"),
    }
    return {
        "stage": stage,
        "accuracy": model["accuracy"],
        "loss": model["loss"],
        "device": (folder / DEVICE_FILE).read_text(encoding="utf-8").strip(),
        "options": {
            "dataset": folder.name,
            "batch": training["batch_size"],
            "decay": training["weight_decay"],
        },
        "file": f"{run.name}/recipe.json",
        "model": f"products/{model['stage']}/{MODEL_FILE}",
    }


if __name__ == "__main__":
    keep(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3])
