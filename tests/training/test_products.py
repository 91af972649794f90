import fcntl
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import time

import pytest

from tfqkd.training import products as module
from tfqkd.training.products import CHECKPOINTS, FORMATS, Products, fingerprint

SPAWN = multiprocessing.get_context("spawn")
PATIENCE_SECONDS = 60


def write(text, calls=None):
    def make(partial):
        if calls is not None:
            calls.append(partial)
        (partial / "file").write_text(text)

    return make


def test_a_product_is_made_once(tmp_path):
    products, calls = Products(tmp_path / "deep" / "store"), []
    first = products.get("teacher", {"epochs": 1}, write("made", calls))
    again = Products(tmp_path / "deep" / "store").get("teacher", {"epochs": 1}, write("new", calls))
    assert first == again == products.path("teacher", {"epochs": 1})
    assert (first / "file").read_text() == "made"
    assert len(calls) == 1


def test_a_product_holds_its_key_and_is_named_by_its_sha256(tmp_path):
    path = Products(tmp_path).get("student", {"b": 1, "a": ("x", 2)}, write(""))
    key = {"a": ["x", 2], "b": 1, "format": FORMATS["student"]}
    text = json.dumps(key, indent=2, sort_keys=True)
    assert (path / "product.json").read_text() == text + "\n"
    assert path.name == f"student-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def test_other_keys_and_stages_are_other_products(tmp_path):
    products = Products(tmp_path)
    keys = [("a", {"x": 1}), ("b", {"x": 1}), ("a", {"x": 2}), ("a", {"y": 1}), ("a", {"x": 1.5})]
    paths = [products.get(stage, key, write(str(key))) for stage, key in keys]
    assert len(set(paths)) == len(keys)
    for path, (_, key) in zip(paths, keys, strict=True):
        assert (path / "file").read_text() == str(key)


def test_another_format_is_another_product_and_another_version_is_not(tmp_path, monkeypatch):
    products, calls = Products(tmp_path), []
    first = products.get("teacher", {"x": 1}, write("made", calls))
    student = products.path("student", {"x": 1})
    for name in ("tfqkd.version.__version__", "tfqkd.__version__"):
        monkeypatch.setattr(name, "9.9.9")
    assert Products(tmp_path).get("teacher", {"x": 1}, write("made", calls)) == first
    assert len(calls) == 1
    monkeypatch.setitem(FORMATS, "teacher", FORMATS["teacher"] + 1)
    assert products.get("teacher", {"x": 1}, write("anew", calls)) != first
    assert len(calls) == 2
    assert products.path("student", {"x": 1}) == student


def test_the_order_of_a_key_does_not_matter():
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1})
    assert fingerprint({"a": 1, "b": [2]}) != fingerprint({"a": 1, "b": [2, 3]})


def test_an_interrupted_product_is_gone_on_with_and_never_returned(tmp_path):
    products = Products(tmp_path)
    path = products.path("teacher", {})

    def stop(partial):
        (partial / CHECKPOINTS).mkdir(exist_ok=True)
        (partial / CHECKPOINTS / "state").write_text("epoch 3")
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            products.get("teacher", {}, stop)
        assert not path.exists()

    def finish(partial):
        assert (partial / CHECKPOINTS / "state").read_text() == "epoch 3"
        (partial / "model").write_text("done")

    assert products.get("teacher", {}, finish) == path
    assert (path / "model").read_text() == "done"
    assert [entry.name for entry in tmp_path.iterdir() if entry.is_dir()] == [path.name]


def checkpointed(partial):
    (partial / CHECKPOINTS / "epoch000001-step000000000").mkdir(parents=True)
    (partial / CHECKPOINTS / "epoch000001-step000000000" / "state.index").write_text("state")
    (partial / "model").write_text("done")


def names(path):
    return sorted(entry.name for entry in path.iterdir())


def test_checkpoints_go_once_the_product_is_whole(tmp_path, monkeypatch):
    whole = []
    remove = shutil.rmtree

    def watched(path):
        whole.append(names(path.parent))
        remove(path)

    monkeypatch.setattr(module.shutil, "rmtree", watched)
    path = Products(tmp_path).get("teacher", {}, checkpointed)
    # Whoever is killed between the two has either all to go on with, or all that was made.
    assert whole == [[CHECKPOINTS, "model", "product.json"]]
    assert names(path) == ["model", "product.json"]


def test_what_a_kill_left_of_the_checkpoints_goes_when_the_product_is_asked_for(
    tmp_path, monkeypatch
):
    def die(path):
        (path / "epoch000001-step000000000" / "state.index").unlink()
        raise KeyboardInterrupt

    products = Products(tmp_path)
    path = products.path("teacher", {})
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module.shutil, "rmtree", die)
        products.get("teacher", {}, checkpointed)
    assert names(path) == [CHECKPOINTS, "model", "product.json"]
    assert products.get("teacher", {}, None) == path
    assert names(path) == ["model", "product.json"]


def test_an_old_product_is_read_where_nobody_may_write(tmp_path, monkeypatch):
    products = Products(tmp_path)
    path = products.get("teacher", {}, write("made"))
    checkpointed(path)
    with monkeypatch.context() as patch:
        patch.setattr(module.os, "access", lambda *_: False)
        assert products.get("teacher", {}, None) == path
    assert CHECKPOINTS in names(path)
    assert products.get("teacher", {}, None) == path
    assert CHECKPOINTS not in names(path)


def make_slowly(directory, log, entered, may_finish):
    def make(partial):
        with log.open("a") as file:
            file.write(f"{os.getpid()}\n")
        entered.set()
        may_finish.wait(PATIENCE_SECONDS)
        (partial / "file").write_text("made")

    path = Products(directory).get("teacher", {"x": 1}, make)
    assert (path / "file").read_text() == "made"


@pytest.mark.slow
def test_two_processes_that_want_the_same_product_make_it_once(tmp_path, capfd):
    log, entered, may_finish = tmp_path / "log", SPAWN.Event(), SPAWN.Event()
    arguments = (tmp_path / "store", log, entered, may_finish)
    processes = [SPAWN.Process(target=make_slowly, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    assert entered.wait(PATIENCE_SECONDS)
    # One is inside; the other can only wait, and says so.
    said = ""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while "waiting for it" not in said and time.monotonic() < deadline:
        time.sleep(0.02)
        said += capfd.readouterr().out
    path = Products(tmp_path / "store").path("teacher", {"x": 1})
    assert said == f"Another process makes {path.name}; waiting for it.\n"
    may_finish.set()
    for process in processes:
        process.join(PATIENCE_SECONDS)
        assert process.exitcode == 0
    assert len(log.read_text().split()) == 1


@pytest.mark.slow
def test_the_lock_of_a_killed_process_holds_nobody_up(tmp_path):
    entered, never = SPAWN.Event(), SPAWN.Event()
    owner = SPAWN.Process(
        target=make_slowly, args=(tmp_path / "store", tmp_path / "log", entered, never)
    )
    owner.start()
    assert entered.wait(PATIENCE_SECONDS)
    products = Products(tmp_path / "store")
    path = products.path("teacher", {"x": 1})
    with path.with_name(path.name + ".lock").open("w") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.kill(owner.pid, signal.SIGKILL)
    owner.join(PATIENCE_SECONDS)
    products.get("teacher", {"x": 1}, write("made by another"))
    assert (path / "file").read_text() == "made by another"
