"""Parts of image files by PyTorch's DataLoader with Pillow: `python torch_loader_row.py FOLDER`.

The box is drawn as torchvision's RandomResizedCrop does it; a process for each core, as its users have it.
"""

import math
import os
import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

import numpy as np
import torch
from PIL import Image

from benchmarks.contestant import serve

SIZE, BATCH = 224, 64
BATCHES = 100  # In a step, as in benchmarks/streams_row.py.


class Parts(torch.utils.data.Dataset):
    """Random parts of the training images of a folder."""

    def __init__(self, folder):
        self.files = sorted(pathlib.Path(folder, "train").glob("*/*.jpg"))

    def __len__(self):
        return len(self.files)

    def __getitem__(self, number):
        file = self.files[number]
        image = Image.open(file).convert("RGB")
        image = image.resize((SIZE, SIZE), Image.Resampling.BILINEAR, box=_box(*image.size))
        if random.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return torch.from_numpy(np.array(image)), int(file.parent.name)


def _box(width, height):
    for _ in range(10):
        area = random.uniform(0.08, 1) * width * height
        ratio = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        wide, high = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < wide <= width and 0 < high <= height:
            left, top = random.randint(0, width - wide), random.randint(0, height - high)
            return left, top, left + wide, top + high
    return 0, 0, width, height


def prepare():
    """Starts the loader; returns what draws batches."""
    loader = torch.utils.data.DataLoader(
        Parts(sys.argv[1]),
        batch_size=BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=os.cpu_count(),
        persistent_workers=True,
    )

    def batches():
        while True:
            yield from loader

    stream = batches()

    def run(steps):
        for _ in range(BATCHES * steps):
            batch = next(stream)
        return batch

    return run


if __name__ == "__main__":
    serve(prepare, warmup=1)
