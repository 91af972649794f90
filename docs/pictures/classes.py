"""Measures the networks that come with tfqkd class by class, for the pictures of their cards.

    python docs/pictures/classes.py --data_dir=DIR      # writes docs/pictures/classes.json

DIR holds CIFAR-10 and CIFAR-100 as TFDS keeps them.
"""

import argparse
import json
import pathlib

from tfqkd.data import load
from tfqkd.data.cifar import CLASS_NAMES
from tfqkd.models import pretrained_file, pretrained_names
from tfqkd.reporting.measurement import run_file
from tfqkd.runtime.evaluation import evaluate_logits

OUTPUT = pathlib.Path(__file__).with_name("classes.json")


def main(data_dir: str) -> None:
    """Writes the accuracy on the test images of each class, in per cent, for each network."""
    shares = {}
    for dataset in CLASS_NAMES:
        test = load(dataset, data_dir=data_dir).test
        for name in pretrained_names():
            if name.endswith(f"_{dataset}"):
                outputs = run_file(pretrained_file(name), test.images)
                recall = evaluate_logits(outputs, test.labels).recall
                shares[name] = [round(100 * share, 1) for share in recall]
    OUTPUT.write_text(json.dumps(shares, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--data_dir", required=True)
    main(parser.parse_args().data_dir)
