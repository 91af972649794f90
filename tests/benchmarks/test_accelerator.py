"""The runner for a GPU machine without TensorFlow: its arithmetic is tfqkd's; all rows train on the CPU."""

import argparse
import functools
import json
import os
import pathlib
import re
import shutil
import subprocess
import tarfile
import zipfile

import numpy as np
import pytest
from fronts.tfmot.fittings import fitting
from PIL import Image

from benchmarks.accelerator import rules
from benchmarks.accelerator.rows import Stage, plan
from benchmarks.environments import python_of
from tfqkd.compat import tf
from tfqkd.core import steps, uniform
from tfqkd.core.losses import soft_loss
from tfqkd.core.schedules import Linear
from tfqkd.core.views import NUMPY, draw_numbers, folded
from tfqkd.data.augmentation import Augmentation
from tfqkd.fronts.tfmot.augmenting import augment, draw_views
from tfqkd.fronts.tfmot.optimizers import make_optimizer
from tfqkd.models import build
from tfqkd.recipe.recipe import Recipe

ROOT = pathlib.Path(__file__).parents[2]
OPTIONS = argparse.Namespace(
    student="cnn4",
    teacher="cnn8",
    epochs=3,
    last_epochs=2,
    rate=0.1,
    coefficient=0.9,
    soft=["standardized", "dkd", "kd"],
    fixed=[0.5],
    seeds=2,
    rows=".*",
)
Z_S, Z_T = np.array([[1, 2, 0.5], [0, 0, 3]]), np.array([[2, 1, 0], [1, 0, 2.0]])
LABELS = np.eye(3)[[0, 2]]


def loss(kind, temperature=2, student=Z_S, teacher=Z_T):
    numbers = (temperature, *rules.SOFT_LOSSES[kind][1:])
    return rules.soft_loss(teacher, student, LABELS, numbers, np)


@pytest.mark.parametrize("scale", [1e-3, 1, 30])
@pytest.mark.parametrize("draw", ["normal", "laplace", "tied", "zeros"])
def test_ternary_steps_and_weights_are_those_of_tfqkd_bit_for_bit(draw, scale):
    generator = np.random.default_rng(0)
    draws = {
        "normal": lambda: generator.normal(size=(3, 3, 16, 24)),
        "laplace": lambda: generator.laplace(size=(3, 3, 16, 24)),
        "tied": lambda: generator.integers(-2, 3, (3, 3, 8, 8)),
        "zeros": lambda: np.zeros((1, 1, 4, 4)),
    }
    weights = (scale * draws[draw]()).astype(np.float32)
    step = rules.ternary_step(weights)
    expected = steps.optimal_step(weights, 2)
    assert step.dtype == np.float32
    assert step == expected.item()
    np.testing.assert_array_equal(
        rules.quantize(weights, step, np), uniform.quantize(weights, expected, 2)
    )


@pytest.mark.parametrize(("seed", "epoch"), [(0, 0), (7, 3), (2**32 - 1, 199)])
def test_examples_are_shown_in_the_views_of_tfqkd(seed, epoch):
    images = np.random.default_rng(0).integers(0, 256, (200, 12, 12, 3)).astype(np.uint8)
    rows = np.random.default_rng(1).permutation(200)[:150]
    drawn = draw_numbers(seed, epoch, np.arange(200), 162, NUMPY).astype(np.int32)
    views = draw_views(200, seed, epoch, Augmentation())
    expected = augment(images[rows], tf.gather(views, rows), padding=4)
    shown = rules.show(images, rows, drawn[rows], np)
    assert shown.dtype == np.uint8
    np.testing.assert_array_equal(shown, expected)


def test_soft_losses_have_the_values_of_their_definitions():
    assert loss("kd") == pytest.approx([0.418517, 0.356277], abs=1e-6)
    assert loss("dkd").mean() == pytest.approx(dkd(1, 2), abs=1e-6)
    eight = rules.soft_loss(Z_T, Z_S, LABELS, (2, 0, 1, 8, 0), np)
    assert eight.mean() == pytest.approx(0.950068, abs=1e-6)
    target, others = (
        rules.soft_loss(Z_T, Z_S, LABELS, (2, 0, *each, 0), np) / 4 for each in ((1, 0), (0, 1))
    )
    assert target == pytest.approx([0.101086, 0.074116], abs=1e-6)
    assert others == pytest.approx([0.007179, 0.030300], abs=1e-6)
    assert loss("standardized").mean() / 10 == pytest.approx(0.301568, abs=1e-6)


def dkd(alpha, beta):
    return 4 * np.mean([alpha * 0.101086 + beta * 0.007179, alpha * 0.074116 + beta * 0.030300])


@pytest.mark.parametrize("temperature", [1, 4])
def test_plain_kd_is_the_kl_of_tfqkd_also_for_logits_far_apart(temperature):
    generator = np.random.default_rng(0)
    teacher, student = (generator.normal(0, 30, (2, 3)).astype(np.float32) for _ in range(2))
    found = loss("kd", np.float32(temperature), student, teacher)
    expected = soft_loss(teacher, student, temperature, "kl")
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", rules.SOFT_LOSSES)
def test_a_student_that_says_what_the_teacher_says_has_no_soft_loss(kind):
    assert loss(kind, student=Z_T) == pytest.approx([0, 0], abs=1e-12)
    stretched = loss(kind, student=3 * Z_T - 1)
    assert (stretched < 1e-6).all() == (kind == "standardized")


def test_the_tables_are_the_schedules_of_tfqkd():
    epochs, steps = 5, 7
    stage = Stage("", "cnn4", epochs, 0.1, 0, coefficient=(0.9, 0.1))
    found = np.concatenate([rules.table(epoch, stage, steps) for epoch in range(epochs)])
    recipe = Recipe({"training.schedule": "cosine", "training.warmup_epochs": 1.0})
    rate = make_optimizer(
        fitting(recipe, 0.1, epochs, steps), build("cnn4", (8, 8, 1), 2)
    )._learning_rate
    expected = [float(rate(step)) for step in range(epochs * steps)]
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-5, atol=1e-8)
    line = Linear(0.9, 0.1)
    values = np.repeat([line(epoch / (epochs - 1)) for epoch in range(epochs)], steps)
    np.testing.assert_allclose(found[:, 1:], np.stack([1 - values, values], axis=1), rtol=1e-6)
    control = rules.table(1, stage._replace(control=True), steps)
    np.testing.assert_allclose(control[:, 1:], [[0.3, 0]] * steps, rtol=1e-6)


@pytest.mark.parametrize("classes", [10, 100])
@pytest.mark.parametrize("share", [0.01, 0.3, 0.9, 1])
def test_smoothed_labels_have_the_entropy_asked_for(classes, share):
    logits = rules.sharpness(share * np.log(classes), classes) * np.eye(classes)[0]
    smoothed = np.exp(logits) / np.exp(logits).sum()
    assert -(smoothed * np.log(smoothed)).sum() == pytest.approx(share * np.log(classes), abs=1e-4)


def test_a_stage_comes_after_what_it_needs_and_no_two_are_the_same():
    seen = set()
    for stage in plan(OPTIONS):
        assert {stage.start, stage.teacher} <= {*seen, ""}
        assert stage.name not in seen
        seen.add(stage.name)
    trained = [stage._replace(name="") for stage in plan(OPTIONS)]
    # Annealed, plain KD of the pipeline 0 stands in both tiers.
    assert len(set(trained)) == len(trained) - 1


def test_what_leads_to_a_row_without_a_teacher_never_saw_one():
    stages = {stage.name: stage for stage in plan(OPTIONS)}

    def taught(name):
        return bool(name) and (bool(stages[name].teacher) or taught(stages[name].start))

    rows = {name.split(".")[0] for name in stages if taught(name)}
    alone = {name.split(".")[0] for name in stages} - rows
    assert alone == {"teacher", "float", "float_longer", "ternary"}
    assert {"taught", "annealed_dkd", "float_taught", "t2_control"} <= rows


def test_chosen_rows_bring_what_they_need():
    chosen = argparse.Namespace(**{**vars(OPTIONS), "rows": r"annealed_kd\.1"})
    assert [stage.name for stage in plan(chosen)] == ["teacher", "taught.1", "annealed_kd.1"]


def test_stages_draw_from_the_seeds_of_tfqkd():
    parts = {stage.name: (stage.seed, stage.part) for stage in plan(OPTIONS)}
    assert parts["teacher"] == (0, (1, 1))
    assert parts["float.1"] == parts["taught.1"] == (1, (2, 1))
    assert parts["ternary.1"] == parts["t2_control.1"] == (1, (2, 2))
    assert len({folded(seed, *part) for seed, part in parts.values()}) == 5


@functools.cache
def interpreter():
    """Python 3.12, as on the GPU machine."""
    places = pathlib.Path.home().glob(".pyenv/versions/3.12.*/bin/python3.12")
    for found in (shutil.which("python3.12"), *map(str, places)):
        ask = [str(found), "--version"]
        if found and not subprocess.run(ask, capture_output=True, check=False).returncode:
            return python_of("accelerator", found)
    pytest.skip("There is no Python 3.12.")


@pytest.fixture(scope="module")
def strips(tmp_path_factory):
    """Two classes that colour tells apart, as strips: a data set for the rehearsal."""
    data, generator = tmp_path_factory.mktemp("strips"), np.random.default_rng(0)
    for split, count in (("train", 256), ("test", 100)):
        for label, name in enumerate(("cold", "warm")):
            images = generator.integers(0, 200, (count, 32, 32, 3))
            images[..., 0] += 55 * label
            folder = data / "colours" / split / name
            folder.mkdir(parents=True)
            strip = Image.fromarray(images.reshape(-1, 32, 3).astype(np.uint8))
            strip.save(folder / "00.webp", lossless=True)
    return data


def call(what, strips, folder, *options):
    """Runs the runner as on the GPU machine, where only what is in the tree can be imported."""
    command = [interpreter(), "-m", "benchmarks.accelerator.run", what, f"--data={strips}"]
    command += ["--dataset=colours", f"--folder={folder}", "--student=cnn4", "--teacher=cnn4"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    child = subprocess.run(
        [*command, *options],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr[-3000:]
    return child.stdout


@pytest.fixture(scope="module")
def rehearsal(strips, tmp_path_factory):
    """Every row, by two processes."""
    folder = tmp_path_factory.mktemp("rehearsal")
    short = ("--images=512", "--batch=64", "--epochs=2", "--last_epochs=2", "--seeds=1")
    call("rows", strips, folder, *short, "--processes=2")
    return folder / "colours", functools.partial(call, "rows", strips, folder, *short)


def results(folder):
    return {
        file.stem: json.loads(file.read_text())
        for file in folder.glob("*.json")
        if file.stem != "settings"
    }


@pytest.mark.slow
def test_every_row_trains_and_a_row_that_is_done_is_not_trained_again(rehearsal):
    folder, again = rehearsal
    found = results(folder)
    options = argparse.Namespace(**{**vars(OPTIONS), "seeds": 1})
    assert found.keys() == {stage.name for stage in plan(options)}
    assert {len(each["history"]["hard_loss"]) for each in found.values()} == {2}
    assert found["float.0"]["accuracy"] > 0.9
    assert not [*folder.glob("*.claim"), *folder.glob("*.draft"), *folder.glob("*.cut.npz")]
    before = {file: file.stat().st_mtime_ns for file in folder.glob("*.npz")}
    assert again() == ""
    assert before == {file: file.stat().st_mtime_ns for file in folder.glob("*.npz")}


@pytest.mark.slow
def test_rows_of_another_recipe_are_refused(rehearsal):
    with pytest.raises(AssertionError, match=r"rows of one --name must share .*'rate': 0\.1"):
        rehearsal[1]("--rate=0.2")


@pytest.mark.slow
def test_what_was_trained_is_a_network_of_tfqkd_with_the_accuracy_that_was_measured(
    rehearsal, strips
):
    folder, _ = rehearsal
    splits = {}
    for split in ("train", "test"):
        files = sorted((strips / "colours" / split).glob("*/*.webp"))
        images = [np.asarray(Image.open(file)).reshape(-1, 32, 32, 3) for file in files]
        splits[split] = np.concatenate(images)
    mean, std = (f(splits["train"], (0, 1, 2)) for f in (np.mean, np.std))
    for name, said in results(folder).items():
        model = build("cnn4", (32, 32, 3), 2, mean=mean, std=std)
        with np.load(folder / f"{name}.npz") as kept:
            for variable in model.variables:
                variable.assign(kept[variable.name.removesuffix(":0")])
            codes = np.unique(kept["conv2/kernel"])
        assert (len(codes) == 3) == said["stage"]["ternary"]
        logits = model.predict(splits["test"].astype(np.float32), verbose=0)
        labels = np.repeat([0, 1], 100)
        assert np.mean(logits.argmax(1) == labels) == pytest.approx(said["accuracy"], abs=0.006)


@pytest.mark.slow
def test_a_stage_that_is_cut_after_each_epoch_ends_in_the_same_weights(strips, tmp_path):
    script = """
import argparse, json, pathlib, sys
from benchmarks.accelerator.rows import Stage
from benchmarks.accelerator.training import Trainer
o = argparse.Namespace(**json.loads(sys.argv[1]))
o.data, folder = pathlib.Path(o.data), pathlib.Path(o.folder)
for name, deadline, runs in (("whole", 1e12, 1), ("cut", 0, 3)):
    o.deadline, o.folder = deadline, folder / name
    o.folder.mkdir()
    trainer = Trainer(o)
    for _ in range(runs):
        assert not (o.folder / "row.json").exists()
        trainer.run(Stage("row", "cnn4", 3, 0.1, 0, ternary=True))
"""
    options = {"data": str(strips), "folder": str(tmp_path), "dataset": "colours", "images": 0}
    options |= {"validation": 0, "batch": 64, "decay": 0.005, "what": "rows"}
    subprocess.run(
        [interpreter(), "-c", script, json.dumps(options)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
        check=True,
    )
    whole, cut = (np.load(tmp_path / name / "row.npz") for name in ("whole", "cut"))
    assert whole.files == cut.files
    for name in whole.files:
        np.testing.assert_array_equal(whole[name], cut[name])
    history = [results(tmp_path / name)["row"]["history"] for name in ("whole", "cut")]
    assert history[0] == history[1]


@pytest.mark.slow
def test_a_resnet20_row_trains_five_steps_in_the_scan(strips, tmp_path):
    call(
        "rows", strips, tmp_path, "--student=resnet20", "--teacher=cnn4", "--images=80",
        "--batch=16", "--epochs=1", "--last_epochs=1", "--soft=dkd", r"--rows=annealed_dkd\.0",
    )  # fmt: skip
    row = results(tmp_path / "colours")["annealed_dkd.0"]
    assert np.isfinite(row["history"]["soft_loss"]).all()
    with np.load(tmp_path / "colours/annealed_dkd.0.npz") as kept:
        levels = {name: len(np.unique(kept[name])) for name in kept if name.endswith("kernel")}
    last = levels.pop("logits/kernel")
    assert min(levels.pop("stem_conv/kernel"), last) > 3
    assert len(levels) == 20
    assert set(levels.values()) == {3}
    assert (tmp_path / "colours/annealed_dkd.0.npz").stat().st_size < 3e6


@pytest.mark.slow
def test_programs_are_timed_by_one_and_by_two_processes(strips, tmp_path):
    call("speed", strips, tmp_path, "--batches", "64", "--turn=1", "--processes=2")
    cells = json.loads((tmp_path / "colours/speed.json").read_text())["rows"]
    assert [row[0] for row in cells] == ["float", "ternary", "ternary, live teacher"]
    for _, batch, one, two, took, kernels, *_ in cells:
        assert float(one) * float(took) == pytest.approx(1e6 * batch, rel=0.02)
        assert float(two) > 0
        assert kernels == "0"  # Of a GPU.


PROFILE = """
planes { name: "/device:GPU:0"
  event_metadata { key: 1 value { id: 1 name: "sm90_xmma_fprop_implicit_gemm_bf16" } }
  event_metadata { key: 2 value { id: 2 name: "loop_add_fusion_7" } }
  lines { name: "Stream #13(Compute)" events { metadata_id: 1 duration_ps: 5000000 }
    events { metadata_id: 2 duration_ps: 2000000 } events { metadata_id: 2 duration_ps: 1000000 } }
  lines { name: "XLA Modules" events { metadata_id: 1 duration_ps: 9000000 } } }
planes { name: "/host:CPU" lines { name: "Stream" events { duration_ps: 7000000 } } }
"""


@pytest.mark.slow
def test_kernels_of_a_profile_are_told_apart():
    script = """
import sys
from benchmarks.accelerator.speed import ProfileData, spent
raw = ProfileData.text_proto_to_serialized_xspace(sys.argv[1])
assert spent(ProfileData.from_serialized_xspace(raw)) == (3, 5.0, 3.0)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    subprocess.run([interpreter(), "-c", script, PROFILE], env=environment, check=True)


def test_what_is_brought_back_fits_and_results_come_first(tmp_path):
    """`there.sh` packs at most four files below 16 MiB each."""
    script = (ROOT / "benchmarks/accelerator/there.sh").read_text()
    pack = script[script.index("pack() {") : script.index("\n}\n") + 3]
    run, out = tmp_path / "run", tmp_path / "out"
    for name in ("cache", "rows"):
        (run / name).mkdir(parents=True)
    out.mkdir()
    generator = np.random.default_rng(0)
    sizes = {f"rows/{at}.npz": 2_000_000 for at in range(9)} | {"rows/0.cut.npz": 2_000_000}
    sizes |= {f"cache/{at}-cache": 6_000_000 for at in range(9)} | {"cache/huge-cache": 20_000_000}
    for name, size in {**sizes, "rows/0.json": 10, "rows/1.claim": 10}.items():
        (run / name).write_bytes(generator.bytes(size))
    lists = tmp_path / "lists"
    subprocess.run(
        ["bash", "-uc", f"run={run} lists={lists} OUT={out} limit=12000000\n{pack}\npack"],
        check=True,
    )
    packed = sorted(out.iterdir())
    assert [file.name for file in packed] == [f"back-{at}.tar" for at in range(1, 5)]
    assert max(file.stat().st_size for file in packed) < 2**24
    names = subprocess.run(
        ["bash", "-c", f"for f in {out}/*; do tar tf $f; done"], capture_output=True, text=True, check=True
    ).stdout.split()  # fmt: skip
    assert names[0] == "rows/0.json"
    assert set(names) >= {f"rows/{at}.npz" for at in range(9)} | {"rows/0.cut.npz"}
    assert not {"cache/huge-cache", "rows/1.claim"} & set(names)
    assert len(names) == len(set(names))


@pytest.fixture
def tree(strips, tmp_path):
    """A checkout with what can be carried: a wheel, and a data set of two classes in two parts."""
    tree = tmp_path / "tree"
    for part in ("benchmarks/accelerator", "tfqkd"):
        shutil.copytree(ROOT / part, tree / part, ignore=shutil.ignore_patterns("weights", "__py*"))
    for file in (ROOT / "benchmarks").glob("*.py"):
        shutil.copy(file, tree / "benchmarks")
    for at, split in enumerate(("train", "test"), start=1):
        part = tree / f"parts/cifar10-{at}/cifar10/{split}"
        shutil.copytree(strips / "colours" / split, part)
    (tree / ".accelerator/back").mkdir(parents=True)
    (tree / ".accelerator/wheels").mkdir()
    with zipfile.ZipFile(tree / ".accelerator/wheels/none-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("carried.py", "")
        wheel.writestr(
            "none-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: none\nVersion: 1\n"
        )
        wheel.writestr("none-1.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("none-1.dist-info/RECORD", "")
    return tree


def there(tree, place, out, *words, carry=()):
    """A call on the machine whose disk is `place`; what it keeps for the way back is in `out`."""
    out.mkdir()
    for part in carry:
        shutil.copytree(tree / "parts" / part, tree / ".accelerator" / part)
    path = f"{pathlib.Path(interpreter()).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PLACE": str(place), "OUT": str(out)}
    child = subprocess.run(
        ["bash", tree / "benchmarks/accelerator/there.sh", *words],
        env=environment | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr[-3000:]
    return child.stdout


@pytest.mark.slow
def test_calls_compile_while_data_comes_train_and_the_next_machine_goes_on(tree, tmp_path):
    options = ["--dataset=cifar10", "--student=cnn4", "--teacher=cnn4", "--batch=64"]
    options += ["--epochs=2", "--last_epochs=1"]
    rows = ["start", "rows", *options, r"--rows=(teacher|ternary\.0)", "--seeds=1", "--"]
    one, other, out = tmp_path / "one", tmp_path / "other", tmp_path / "out1"
    warm = ["take", "start", "warm", *options, "--", "look", "0"]
    there(tree, one, out, *warm, carry=["cifar10-1"])
    assert (one / "site/carried.py").exists()
    assert not (tree / ".accelerator/cifar10-1").exists()
    out = tmp_path / "out2"
    both = ["take", "look", "300", *rows, "look", "300"]
    said = there(tree, one, out, *both, carry=["cifar10-2"])
    assert said.count("compiled in") == 2 * 3  # Both looks show it.
    stages = ("teacher", "float.0", "ternary.0")
    assert set(re.findall(r"^(\S+): .* %$", said, re.MULTILINE)) == set(stages)
    with tarfile.open(out / "back-1.tar") as tar:
        names = tar.getnames()
    assert {f"cifar10/{each}.{kind}" for each in stages for kind in ("json", "npz")} <= set(names)
    assert any(name.startswith("cache/jit_epoch") for name in names)
    # The machine is gone; the next one finds what came back, and has nothing to train.
    shutil.copy(out / "back-1.tar", tree / ".accelerator/back")
    again = ["take", *rows, "look", "60"]
    said = there(tree, other, tmp_path / "out3", *again, carry=["cifar10-1", "cifar10-2"])
    assert re.fullmatch(r"== \S+\.log\n", said)
    for each in stages:
        name = f"run/cifar10/{each}.npz"
        assert (other / name).read_bytes() == (one / name).read_bytes()
