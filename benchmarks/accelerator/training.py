"""Trains stages on the device of a process; what it makes lies in the run's folder."""

import argparse
import json
import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from PIL import Image

from benchmarks.accelerator import programs
from benchmarks.accelerator.rows import Stage, plan
from benchmarks.accelerator.rules import (
    FLOAT,
    MOMENTS,
    SOFT_LOSSES,
    quantize,
    sharpness,
    table,
    ternary_step,
)
from tfqkd.core.views import folded


def moments(images: np.ndarray) -> tuple[tuple, tuple]:
    """Returns mean and standard deviation of uint8 images `[n, H, W, C]` by channel."""
    mean, deviation = (f(images, (0, 1, 2), np.float64) for f in (np.mean, np.std))
    return tuple(mean.tolist()), tuple(deviation.tolist())


def load(o: argparse.Namespace, split: str) -> list[np.ndarray]:
    """Returns images and labels of a split: the strips, in the order of the TFDS data set.

    To compile programs beforehand, black images stand for those of CIFAR.
    """
    if o.what == "warm":
        classes, count = (
            int(o.dataset.removeprefix("cifar")),
            {"train": 50_000, "test": 10_000}[split],
        )
        labels = np.arange(count, dtype=np.int32) % classes
        return [np.zeros((count, 32, 32, 3), np.uint8), labels]
    strips = sorted((o.data / o.dataset / split).glob("*/*.webp"))
    classes = sorted({strip.parent.name for strip in strips})
    strip_images = [np.asarray(Image.open(each).convert("RGB")) for each in strips]
    images = [each.reshape(-1, 32, 32, 3) for each in strip_images]
    labels = np.repeat([classes.index(each.parent.name) for each in strips], [*map(len, images)])
    order = np.random.default_rng(0).permutation(len(labels))[: o.images or None]
    return [np.concatenate(images)[order], labels[order].astype(np.int32)]


class Trainer:
    """Holds the data on the device; `o` are the options of the command."""

    def __init__(self, o: argparse.Namespace) -> None:
        self.o, train, test = o, load(o, "train"), load(o, "test")
        if o.validation:
            test = [each[: o.validation] for each in train]
            train = [each[o.validation :] for each in train]
        shape, classes = train[0].shape[1:], int(train[1].max()) + 1
        mean, std = MOMENTS.get(o.dataset) or moments(train[0])
        self.fixed = {"image_shape": shape, "classes": classes, "mean": mean, "std": std}
        self.train, self.test = jax.device_put((train, test))
        if jax.default_backend() == "gpu":
            programs.keras.config.set_dtype_policy("mixed_bfloat16")

    def variables(self, stage: str, network: str, seed: int = 0) -> list[list]:
        """Returns trainable and other variables: those that a stage left, or new ones without a stage."""
        programs.keras.utils.set_random_seed(seed)
        model = programs.new_network(network, **self.fixed)
        lists = (model.trainable_variables, model.non_trainable_variables)
        if not stage:
            return [[np.asarray(v.value) for v in each] for each in lists]
        with np.load(self.o.folder / f"{stage}.npz") as kept:
            return [[kept[v.path] for v in each] for each in lists]

    def prepare(self, stage: Stage) -> tuple[Any, dict, Any, Any]:
        """Returns the state that a stage starts from, its arguments, and the structures."""
        student, teacher = programs.network(stage.network, **self.fixed), None
        key, soft = folded(stage.seed, *stage.part), np.float32(SOFT_LOSSES[stage.soft])
        weights, moving = self.variables(stage.start, stage.network, key)
        inner = [at for at, w in enumerate(weights) if w.ndim > 1][1:-1] if stage.ternary else ()
        steps = [ternary_step(w) if at in inner else FLOAT for at, w in enumerate(weights)]
        row = {"steps": steps, "statistics": moving, "key": np.uint32(key), "soft": soft}
        row |= {"decay": np.float32(self.o.decay), "sharpness": np.float32(0), "taught": None}
        if stage.teacher:
            teacher = programs.network(self.o.teacher, **self.fixed)
            row["taught"] = self.variables(stage.teacher, self.o.teacher)
        if stage.smoothed:
            entropy = programs.evaluate(row["taught"], self.train, soft[0], teacher)[2]
            alike = sharpness(float(entropy), self.fixed["classes"])
            row["sharpness"], row["taught"], teacher = soft[0] * np.float32(alike), None, None
        state = (weights, [np.zeros_like(w) for w in weights])
        return *jax.device_put((state, row)), student, teacher

    def epochs(self, stage: Stage, prepared: tuple, first: int = 0) -> Iterator[tuple[Any, Any]]:
        """Trains; yields state and logs after each epoch, while the device may still be at it."""
        (state, row, *models), steps = prepared, len(self.train[0]) // self.o.batch
        for number in range(first, stage.epochs):
            now = {**row, "epoch": np.uint32(number), "table": table(number, stage, steps)}
            state, logs = programs.epoch(state, self.train, now, *models, self.o.batch)
            yield state, logs

    def run(self, stage: Stage) -> None:
        """Trains a stage, or goes on with one that was cut, to its end or until it is late."""
        (state, row, *models), begun, history = self.prepare(stage), time.time(), []
        cut = self.o.folder / f"{stage.name}.cut.npz"
        if cut.exists():
            with np.load(cut) as kept:
                leaves, shape = jax.tree.flatten(state)
                state = jax.tree.unflatten(shape, [kept[str(at)] for at in range(len(leaves))])
                history = [*kept["history"]]
        for after, logs in self.epochs(stage, (state, row, *models), len(history)):
            # Waits for the epoch before: the device never rests, and the host is never far ahead.
            history[-1:] = [np.asarray(each) for each in history[-1:]]
            history.append(logs)
            state, late = after, time.time() > self.o.deadline and len(history) < stage.epochs
            if late or len(history) % 10 == 0:
                self.tell(stage, history, begun)
                leaves = {str(at): leaf for at, leaf in enumerate(jax.tree.leaves(state))}
                self.write(cut, np.savez, history=np.stack(history), **leaves)
            if late:
                return
        pairs = zip(*jax.device_get((state[0], row["steps"])), strict=True)
        weights = [quantize(w, step, np) for w, step in pairs]
        moving = programs.statistics(weights, self.train, row["key"], models[0], self.o.batch)
        found = programs.evaluate((weights, moving), self.test, np.float32(1), models[0])
        variables = models[0].trainable_variables + models[0].non_trainable_variables
        named = {v.path: each for v, each in zip(variables, [*weights, *moving], strict=True)}
        self.write(self.o.folder / f"{stage.name}.npz", np.savez_compressed, **named)
        columns = zip(programs.LOGS, np.stack(history).T.tolist(), strict=True)
        said = {"accuracy": float(found[0]), "loss": float(found[1]), "stage": stage._asdict()}
        said |= {"seconds": time.time() - begun, "device": jax.devices()[0].device_kind}
        said |= {"options": vars(self.o), "history": dict(columns)}
        text = json.dumps(said, default=str).encode()
        self.write(self.o.folder / f"{stage.name}.json", lambda file: file.write(text))
        cut.unlink(missing_ok=True)
        print(f"{stage.name}: {100 * said['accuracy']:.2f} %", flush=True)

    def tell(self, stage: Stage, history: list, begun: float) -> None:
        """Prints where a stage is; the time is that since the process began it."""
        values = zip(programs.LOGS, history[-2:][0], strict=True)
        said = " ".join(f"{name} {value:.4f}" for name, value in values)
        print(
            f"{time.time() - begun:.1f} s  {stage.name} {len(history)}/{stage.epochs}: {said}",
            flush=True,
        )

    def warm(self) -> None:
        """Compiles what `rows` needs into the cache on disk, in the order in which rows need it."""
        o, steps = self.o, len(self.train[0]) // self.o.batch
        for name, taught in ((o.teacher, False), (o.student, True), (o.student, False)):
            begun = time.time()
            stage = Stage("warm", name, o.epochs, o.rate, 0)
            state, row, student, teacher = self.prepare(stage)
            if taught:
                teacher = programs.network(o.teacher, **self.fixed)
                row["taught"] = jax.device_put(self.variables("", o.teacher))
            now = {**row, "epoch": np.uint32(0), "table": table(0, stage, steps)}
            programs.epoch.lower(state, self.train, now, student, teacher, o.batch).compile()
            weights, moving = self.variables("", name)
            if not taught:
                programs.statistics.lower(
                    weights, self.train, row["key"], student, o.batch
                ).compile()
                test = (weights, moving), self.test, np.float32(1), student
                programs.evaluate.lower(*test).compile()
            print(f"{name}, taught {taught}: compiled in {time.time() - begun:.0f} s", flush=True)

    def write(self, path: Any, fill: Any, **named: Any) -> None:
        """Writes a file as a whole."""
        draft = path.with_name(f"{path.name}.draft")
        with draft.open("wb") as file:
            fill(file, **named)
        draft.replace(path)


def claimed(o: argparse.Namespace) -> Iterator[Stage]:
    """Yields stages that can begin, and that no other process has, until all are done or it is late."""
    while time.time() < o.deadline:
        undone = {s.name: s for s in plan(o) if not (o.folder / f"{s.name}.json").exists()}
        if not undone:
            return
        for stage in undone.values():
            claim = o.folder / f"{stage.name}.claim"
            if {stage.start, stage.teacher} & undone.keys():
                continue
            try:
                claim.touch(exist_ok=False)
            except FileExistsError:
                continue
            try:
                yield stage
            finally:
                claim.unlink()
            break
        else:
            time.sleep(1)
