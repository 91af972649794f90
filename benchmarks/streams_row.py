"""One way to stream parts of image files: `python -m benchmarks.streams_row ours|plain|memory FOLDER`."""

import json
import pathlib
import resource
import sys
from collections.abc import Callable

from benchmarks.contestant import serve
from tfqkd.compat import tf
from tfqkd.data import Augmentation, load
from tfqkd.fronts.tfmot.batches import training_batches

SIZE, BATCH = 224, 64
BATCHES = 100
"""In a step of this row: many more than a loader has ready when its turn begins."""
_AUGMENTATION = Augmentation(padding=0, resized_crop=True)


def ours(folder: str, epochs: int = 10_000) -> tf.data.Dataset:
    """The batches of a training on a streamed folder."""
    data = load(f"folder:{folder}", image_size=SIZE, stream="on")
    return training_batches(
        data.train,
        batch_size=BATCH,
        classes=data.classes,
        seed=0,
        augmentation=_AUGMENTATION,
        epochs=epochs,
    )


def plain(folder: str) -> tf.data.Dataset:
    """The same in tf.data's own operations, as its guides have it; the box is any of the allowed area."""
    files = sorted(map(str, pathlib.Path(folder, "train").glob("*/*.jpg")))
    labels = [int(pathlib.Path(file).parent.name) for file in files]

    def image(file: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pixels = tf.io.decode_jpeg(tf.io.read_file(file), channels=3)
        begin, size, _ = tf.image.sample_distorted_bounding_box(
            tf.shape(pixels),
            tf.zeros([0, 0, 4]),
            area_range=(0.08, 1),
            min_object_covered=0.0,
            use_image_if_no_bounding_boxes=True,
        )
        part = tf.image.resize(tf.slice(pixels, begin, size), (SIZE, SIZE), antialias=True)
        part = tf.image.random_flip_left_right(part)
        return tf.saturate_cast(tf.round(part), tf.uint8), tf.one_hot(label, 10)

    stream = tf.data.Dataset.from_tensor_slices((files, labels)).shuffle(len(files)).repeat()
    stream = stream.map(image, num_parallel_calls=tf.data.AUTOTUNE)
    # As many as ours has ready; AUTOTUNE made a hundred while the others had their turn.
    return stream.batch(BATCH, drop_remainder=True).prefetch(2)


def _drawing(batches: tf.data.Dataset) -> Callable[[int], object]:
    stream = iter(batches)

    def run(steps: int) -> object:
        for _ in range(BATCHES * steps):
            batch = next(stream)
        return batch

    return run


def _memory(folder: str) -> None:
    peaks = []
    stream = ours(folder, epochs=2)
    half = int(stream.cardinality()) // 2
    for number, _ in enumerate(stream, start=1):
        if number in (half, 2 * half):
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    print(json.dumps(peaks))


if __name__ == "__main__":
    kind, where = sys.argv[1:]
    if kind == "memory":
        _memory(where)
    else:
        serve(lambda: _drawing({"ours": ours, "plain": plain}[kind](where)), warmup=1)
