"""Runs of `bin/train` on a GPU machine without TensorFlow: the plan, the data, and all of it on the CPU."""

import functools
import itertools
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
from PIL import Image

from benchmarks.accelerator import arrays
from benchmarks.accelerator.run import NETWORK, PLAN, plan
from benchmarks.environments import python_of
from tfqkd.cli import train
from tfqkd.data import load
from tfqkd.training.presets import PAPER
from tfqkd.training.stage import Stage, walk

ROOT = pathlib.Path(__file__).parents[2]
TEXT = PLAN.read_text(encoding="utf-8")


@pytest.fixture
def stages_of(tmp_path, monkeypatch):
    """Returns the stages of a row, with an empty file for each network of another row."""
    recipes = []
    monkeypatch.setattr(train, "_run", lambda recipe, *rest: recipes.append(recipe))

    def of(row):
        for which in row.needs:
            (tmp_path / f"{which}.keras").touch()
        flags = [
            NETWORK.sub(lambda found: f"{tmp_path}/{found[1]}.keras", each) for each in row.flags
        ]
        fixed = [f"--flagfile={ROOT}/configs/cifar100.flags", "--run.keras=3", "--formats="]
        assert train.main(["train", *fixed, *flags]) == 0
        return PAPER(recipes.pop())

    return of


def test_every_row_is_a_recipe_and_no_two_are_the_same(stages_of):
    last = {}
    for row in plan(TEXT, ".*", 2):
        stage = stages_of(row)[-1]
        assert isinstance(stage, Stage)
        last[row.name] = (stage.settings(), stage.start, stage.teachers)
    alike = [
        {one, other} for one, other in itertools.combinations(last, 2) if last[one] == last[other]
    ]
    # Annealed, plain distillation of the first pipeline stands in both tiers.
    assert alike == [{"annealed_kd.0", "t2_annealed.0"}]


def test_a_network_that_a_row_needs_is_of_a_row_before_it():
    seen = []
    for row in plan(TEXT, ".*", 3):
        assert row.name not in seen
        assert {each.partition(":")[0] for each in (*row.needs, *row.after)} <= set(seen)
        seen.append(row.name)
    tiers = [{"t2": 2, "t3": 3}.get(name[:2], 1) for name in seen]
    assert tiers == sorted(tiers)


def test_what_leads_to_a_row_without_a_teacher_never_saw_one(stages_of):
    taught = {}
    for row in plan(TEXT, ".*", 1):
        stages = stages_of(row)
        own = any(stage.teachers for stage in walk(stages) if isinstance(stage, Stage))
        starts = [each.partition(":")[0] for each in row.needs if each.endswith(":student")]
        taught[row.name] = own or any(taught[name] for name in starts)
    alone = {name for name, was in taught.items() if not was}
    assert alone == {
        "ternary.0",
        "long_ternary.0",
        "float_longer.0",
        "t3_ternary_teacher",
        "t3_second_teacher",
    }
    # The float student of both is one.
    student = [stages_of(row)[0] for row in plan(TEXT, "ternary.1|float_longer.1", 2)]
    assert student[0] == student[1]


def test_chosen_rows_bring_what_they_need():
    names = [row.name for row in plan(TEXT, r"annealed_kd\.1", 2)]
    assert names == ["annealed_standardized.0", "annealed_standardized.1", "annealed_kd.1"]


@pytest.fixture(scope="module")
def strips(tmp_path_factory):
    """Three classes that colour tells apart, as strips: a data set for the rehearsal."""
    data, generator = tmp_path_factory.mktemp("strips"), np.random.default_rng(0)
    for split, count in (("train", 256), ("test", 100)):
        for label, name in enumerate(("cold", "mild", "warm")):
            images = generator.integers(0, 200, (count, 32, 32, 3))
            images[..., label] += 55
            folder = data / "cifar10" / split / name
            folder.mkdir(parents=True)
            strip = Image.fromarray(images.reshape(-1, 32, 3).astype(np.uint8))
            strip.save(folder / "00.webp", lossless=True)
    counted = arrays.count(arrays.read(data / "cifar10"))
    (data / "cifar10" / arrays.COUNTS).write_text(json.dumps(counted))
    return data


def test_images_are_in_the_order_of_the_data_set_of_the_strips(strips):
    data = load(f"arrays:{arrays.make(strips / 'cifar10', real=True)}")
    assert data.class_names == ("cold", "mild", "warm")
    files = [strips / "cifar10" / "train" / name / "00.webp" for name in data.class_names]
    stored = np.concatenate([np.asarray(Image.open(file)).reshape(-1, 32, 32, 3) for file in files])
    order = np.random.default_rng(0).permutation(768)
    np.testing.assert_array_equal(data.train.images, stored[order])
    np.testing.assert_array_equal(data.train.labels, order // 256)


def test_what_stands_in_for_data_has_its_moments_classes_and_sizes(strips):
    real, other = (
        load(f"arrays:{arrays.make(strips / 'cifar10', real=real)}") for real in (True, False)
    )
    assert (other.mean, other.std) == (real.mean, real.std)
    assert other.class_names == real.class_names
    assert other.train.images.shape == real.train.images.shape
    assert other.test.images.shape == real.test.images.shape


def test_a_data_set_that_is_not_all_there_is_refused(strips, tmp_path):
    folder = shutil.copytree(strips / "cifar10", tmp_path / "cifar10")
    shutil.rmtree(folder / "train" / "warm")
    with pytest.raises(ValueError, match="All strips must be there"):
        arrays.make(folder, real=True)


@functools.cache
def interpreter():
    """Python 3.12, as on the GPU machine."""
    places = pathlib.Path.home().glob(".pyenv/versions/3.12.*/bin/python3.12")
    for found in (shutil.which("python3.12"), *map(str, places)):
        ask = [str(found), "--version"]
        if found and not subprocess.run(ask, capture_output=True, check=False).returncode:
            return python_of("accelerator", found)
    pytest.skip("There is no Python 3.12.")


def environment():
    """Where `python3` is that of the GPU machine, and only what is in the tree can be imported."""
    place = pathlib.Path(interpreter()).parent
    # The tests' own flags are of the XLA that TensorFlow has.
    own = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    return {
        **own,
        "PATH": f"{place}:{os.environ['PATH']}",
        "VIRTUAL_ENV": str(place.parent),
        "PYTHONPATH": str(ROOT),
        "JAX_PLATFORMS": "cpu",
    }


SHORT = "--student=cnn4 --teacher=cnn4 --training.batch_size=64 --training.epochs=2"
SHORT += " --quantized.training.epochs=2"


def call(what, strips, folder, *options, flags=SHORT):
    """Runs the runner as on the GPU machine."""
    command = ["python3", "-m", "benchmarks.accelerator.run", what, f"--data={strips}"]
    command += ["--dataset=cifar10", f"--folder={folder}", f"--flags={flags}", *options]
    child = subprocess.run(
        command, env=environment(), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert child.returncode == 0, child.stdout + child.stderr[-3000:]
    return child.stdout


def results(folder):
    return {
        file.parent.name: json.loads(file.read_text())["models"]
        for file in folder.glob("*/results.json")
    }


@pytest.mark.slow
def test_every_row_trains_and_a_row_that_is_done_is_not_trained_again(strips, tmp_path):
    small = tmp_path / "rows.txt"
    small.write_text(re.sub(r"epochs=400", "epochs=3", re.sub(r"wrn20x[\d.]+", "cnn8", TEXT)))
    every = ("--seeds=1", "--processes=2", f"--plan={small}")
    call("rows", strips, tmp_path, *every)
    folder = tmp_path / "cifar10"
    found = results(folder)
    assert found.keys() == {row.name for row in plan(TEXT, ".*", 1)}
    shares = {name: models[-1]["quantized_share"] > 0 for name, models in found.items()}
    floats = {"float_longer.0", "float_taught.0", "t3_assistant", "t3_second_teacher"}
    assert {name for name, ternary in shares.items() if not ternary} == floats
    # One teacher, one taught student, and the float one, whose start two rows share.
    made = [
        path.name.partition("-")[0] for path in (folder / "products").glob("*-*") if path.is_dir()
    ]
    assert made.count("teacher") == 1
    assert made.count("student") == 2 + len({"t3_assistant", "t3_second_teacher"})
    before = {file: file.stat().st_mtime_ns for file in folder.glob("products/*/model.keras")}
    assert call("rows", strips, tmp_path, *every) == ""
    assert before == {file: file.stat().st_mtime_ns for file in before}


@pytest.mark.slow
def test_a_resnet20_row_trains_five_steps_in_the_scan(strips, tmp_path):
    flags = "--teacher=cnn4 --training.epochs=0 --quantized.training.epochs=1 --run.scan=on"
    flags += " --training.batch_size=16 --data.train_examples=80"
    call("rows", strips, tmp_path, r"--rows=annealed_standardized\.0", flags=flags)
    (*_, student) = results(tmp_path / "cifar10")["annealed_standardized.0"]
    assert student["name"] == "resnet20"
    assert student["quantized_share"] > 0.9
    (history,) = (tmp_path / "cifar10" / "products" / student["stage"]).glob("history.csv")
    names, values = (line.split(",") for line in history.read_text().splitlines())
    assert np.isfinite([float(each) for each in values]).all()
    assert "soft_loss" in names


@pytest.mark.slow
def test_rows_share_the_programs_that_were_compiled_before_the_data_was_there(strips, tmp_path):
    scan = f"{SHORT} --run.scan=on"
    call("warm", strips, tmp_path, r"--rows=t2_annealed\.0", flags=scan)
    before = {file.name for file in (tmp_path / "cache").glob("jit__steps-*-cache")}
    # The teacher's, the taught student's, and the ternary one's with either soft loss.
    assert len(before) == 4
    other = f"{scan} --training.epochs=3 --coefficient=0.5 --temperature=3 --run.pretrain_seed=7"
    other += " --training.learning_rate=0.05 --training.weight_decay=0.001"
    call("rows", strips, tmp_path, r"--rows=t2_annealed\.1", flags=other)
    assert before == {file.name for file in (tmp_path / "cache").glob("jit__steps-*-cache")}


@pytest.mark.slow
def test_programs_are_timed_by_one_and_by_two_processes(strips, tmp_path):
    call(
        "speed",
        strips,
        tmp_path,
        "--turn=1",
        "--processes=2",
        flags="--student=cnn2 --teacher=cnn2",
    )
    cells = json.loads((tmp_path / "speed" / "speed.json").read_text())["rows"]
    kinds = ["float", "ternary", "ternary, live teacher"]
    assert [row[:2] for row in cells] == [[kind, batch] for kind in kinds for batch in (128, 512)]
    assert all(float(each.replace(",", "")) > 0 for row in cells for each in row[2:])


def test_what_is_brought_back_fits_and_results_come_first(tmp_path):
    """`there.sh` packs at most four files below 16 MiB each."""
    script = (ROOT / "benchmarks/accelerator/there.sh").read_text()
    packs = script[script.index("pack() {") : script.index("\n}\n") + 3]
    run, out = tmp_path / "run", tmp_path / "out"
    out.mkdir()
    generator = np.random.default_rng(0)
    made = [f"cifar10/products/quantized-{at}" for at in range(9)]
    left = "cifar10/products/quantized-9.partial"
    sizes = {f"{each}/model.keras": 2_000_000 for each in made}
    # Without it a file is no product: what needs it would be made anew.
    sizes |= {f"{each}/product.json": 10 for each in made}
    sizes |= {f"{left}/checkpoints/epoch1-step0/state.npz": 2_000_000, f"{left}/history.csv": 10}
    sizes |= {f"cache/{at}-cache": 6_000_000 for at in range(9)} | {"cache/huge-cache": 20_000_000}
    sizes |= {"cifar10/a/results.json": 10, "warm/a/results.json": 10, "cifar10/a.txt": 10}
    for name, size in sizes.items():
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_bytes(generator.bytes(size))
    script = f"run={run} lists={tmp_path}/lists OUT={out} limit=12000000\n{packs}\npack"
    subprocess.run(["bash", "-uc", script], check=True)
    packed = sorted(out.iterdir())
    assert [file.name for file in packed] == [f"back-{at}.tar" for at in range(1, 5)]
    assert max(file.stat().st_size for file in packed) < 2**24
    names = []
    for file in packed:
        with tarfile.open(file) as tar:
            names += tar.getnames()
    assert names[0] == "cifar10/a/results.json"
    assert len(names) == len(set(names))
    assert set(names) >= {name for name in sizes if name.startswith("cifar10")}
    assert not {"cache/huge-cache", "warm/a/results.json"} & set(names)
    assert names.index(f"{left}/history.csv") > names.index(
        f"{left}/checkpoints/epoch1-step0/state.npz"
    )


@pytest.fixture
def tree(strips, tmp_path):
    """A checkout with what can be carried: a wheel, and a data set in two parts."""
    tree = tmp_path / "tree"
    for part in ("benchmarks/accelerator", "bin", "configs", "tfqkd"):
        shutil.copytree(ROOT / part, tree / part, ignore=shutil.ignore_patterns("weights", "__py*"))
    for file in (ROOT / "benchmarks").glob("*.py"):
        shutil.copy(file, tree / "benchmarks")
    for at, split in enumerate(("train", "test"), start=1):
        part = tree / f"parts/cifar10-{at}/cifar10"
        shutil.copytree(strips / "cifar10" / split, part / split)
        if at == 1:
            shutil.copy(strips / "cifar10" / arrays.COUNTS, part)
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
    child = subprocess.run(
        ["bash", tree / "benchmarks/accelerator/there.sh", *words],
        env=environment() | {"PLACE": str(place), "OUT": str(out)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr[-3000:]
    return child.stdout


@pytest.mark.slow
def test_calls_compile_while_data_comes_train_and_the_next_machine_goes_on(tree, tmp_path):
    rows = ["--dataset=cifar10", f"--flags={SHORT}", r"--rows=ternary\.0", "--seeds=1"]
    place, out = tmp_path / "place", tmp_path / "out1"
    warm = ["take", "start", "warm", *rows, "--", "look", "0"]
    there(tree, place, out, *warm, carry=["cifar10-1"])
    assert (place / "site/carried.py").exists()
    assert not (tree / ".accelerator/cifar10-1").exists()
    out = tmp_path / "out2"
    # The time is up when the row has begun: it keeps an epoch, and the next call goes on with it.
    late = ["start", "rows", *rows, "--seconds=14", "--", "look", "120"]
    said = there(tree, place, out, "take", "look", "300", *late, carry=["cifar10-2"])
    assert "ternary.0: float student" in said  # That of the stand-in.
    # The machine is gone; the next one goes on with what came back.
    place.rename(tmp_path / "gone")
    shutil.copy(out / "back-1.tar", tree / ".accelerator/back")
    again = ["take", "start", "rows", *rows, "--", "look", "300"]
    there(tree, place, tmp_path / "out3", *again, carry=["cifar10-1", "cifar10-2"])
    found = results(place / "run/cifar10")["ternary.0"]
    assert [model["role"] for model in found] == ["student", "quantized"]
    with tarfile.open(tmp_path / "out3/back-1.tar") as tar:
        names = tar.getnames()
    assert names[0] == "cifar10/ternary.0/results.json"
    assert any(name.startswith("cache/jit_") for name in names)
    assert any(re.fullmatch(r"cifar10/products/quantized-\w+/model.keras", name) for name in names)
