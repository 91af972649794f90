import fcntl
import hashlib
import os
import pathlib
import subprocess
import sys

import pytest

from tfqkd.storage import (
    OccupiedError,
    digest,
    file_digest,
    locked,
    locked_at_once,
    put_in_place,
    staged,
    tree_digest,
    whole_file,
    write_atomically,
)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, "old µ")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "new \ud800")
    assert path.read_text(encoding="utf-8") == "old µ"
    write_atomically(path, "new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_draft_keeps_the_suffix_that_its_writer_looks_at(tmp_path):
    with whole_file(tmp_path / "run.png") as draft:
        assert (draft.parent, draft.suffix) == (tmp_path, ".png")
        draft.write_bytes(b"picture")
        assert not (tmp_path / "run.png").exists()
    assert [file.name for file in tmp_path.iterdir()] == ["run.png"]


def test_a_draft_of_files_that_others_wrote_is_put_in_place_whole(tmp_path):
    draft = tmp_path / "product.partial"
    (draft / "deep").mkdir(parents=True)
    (draft / "deep" / "file").write_text("made")
    put_in_place(draft, tmp_path / "product")
    assert (tmp_path / "product" / "deep" / "file").read_text() == "made"
    assert [entry.name for entry in tmp_path.iterdir()] == ["product"]


def test_staging_replaces_a_file_only_at_the_end(tmp_path):
    target = tmp_path / "deep" / "file"
    with staged(target) as draft:
        draft.write_text("first")
        assert not target.exists()
    with staged(target) as draft:
        draft.write_text("second")
        assert target.read_text() == "first"
    assert target.read_text() == "second"
    assert list(target.parent.iterdir()) == [target]


def test_staging_replaces_a_directory(tmp_path):
    for content in ("first", "second"):
        with staged(tmp_path / "target") as draft:
            draft.mkdir()
            (draft / content).write_text(content)
    assert [file.name for file in (tmp_path / "target").iterdir()] == ["second"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["target"]


@pytest.mark.parametrize("directory", [False, True])
def test_a_failure_leaves_the_earlier_one_and_nothing_else(tmp_path, directory):
    target = tmp_path / "target"
    inner = target / "inner" if directory else target
    inner.parent.mkdir(exist_ok=True)
    inner.write_text("earlier")
    with pytest.raises(ZeroDivisionError), staged(target) as draft:
        draft.write_text("half")
        raise ZeroDivisionError
    assert inner.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [target]


def test_a_draft_that_cannot_be_renamed_restores_an_earlier_directory(tmp_path, monkeypatch):
    target = tmp_path / "target"
    target.mkdir()
    (target / "inner").write_text("earlier")

    def refuse(*_):
        raise OSError("the disk went away")

    with pytest.raises(OSError, match="went away"), staged(target) as draft:
        draft.mkdir()
        monkeypatch.setattr(pathlib.Path, "replace", refuse)
    assert (target / "inner").read_text() == "earlier"


def test_a_draft_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    target = tmp_path / "target"
    done = []

    def sync(handle):
        name = pathlib.Path(f"/proc/self/fd/{handle}").readlink().name
        done.append((name, target.exists()))

    monkeypatch.setattr(os, "fsync", sync)
    with staged(target) as draft:
        (draft / "variables").mkdir(parents=True)
        (draft / "variables" / "index").write_text("x")
    *contents, last = done
    assert {name for name, _ in contents} == {"target", "variables", "index"}
    assert not any(is_there for _, is_there in contents)
    assert last == (tmp_path.name, True)


def test_what_a_killed_export_left_is_deleted_and_what_another_writes_is_not(tmp_path):
    code = (
        "import os, pathlib, signal, sys, time\n"
        "from tfqkd.storage import staged\n"
        "with staged(pathlib.Path(sys.argv[1])) as draft:\n"
        "    draft.write_text('half')\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "target")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        with staged(tmp_path / "other") as draft:
            draft.write_text("whole")
        (abandoned,) = tmp_path.glob(".tfqkd-*")
        assert (abandoned / "target").read_text() == "half"
        child.kill()
        child.wait()
    assert abandoned.exists()
    with staged(tmp_path / "other") as draft:
        draft.write_text("again")
    assert [entry.name for entry in tmp_path.iterdir()] == ["other"]


def test_an_export_that_begins_takes_no_other_that_begins_for_abandoned(tmp_path, monkeypatch):
    lock = fcntl.flock

    def lock_late(*arguments):
        monkeypatch.setattr(fcntl, "flock", lock)
        with staged(tmp_path / "other") as draft:
            draft.write_text("other")
        lock(*arguments)

    monkeypatch.setattr(fcntl, "flock", lock_late)
    with staged(tmp_path / "target") as draft:
        draft.write_text("whole")
    contents = {entry.name: entry.read_text() for entry in tmp_path.iterdir()}
    assert contents == {"target": "whole", "other": "other"}


def test_a_lock_keeps_others_out_as_flock_does_and_stays_as_a_file(tmp_path):
    lock = tmp_path / "a.lock"
    with locked(lock):
        with lock.open() as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(OccupiedError), locked_at_once(lock):
            pass
    with locked_at_once(lock), lock.open() as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert lock.exists()


def test_who_finds_a_lock_taken_reads_its_owner(tmp_path):
    lock = tmp_path / "a.lock"
    for owner in ("a longer name\n", "me\n"):
        with locked_at_once(lock, owner):
            with pytest.raises(OccupiedError) as error, locked_at_once(lock, "another"):
                pass
            assert str(error.value) == owner.strip()


def test_who_waits_says_so_once(tmp_path):
    lock, said = tmp_path / "a.lock", []
    with locked(lock, lambda: said.append("free")):
        pass
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)

        def let_go():
            said.append("waits")
            fcntl.flock(file, fcntl.LOCK_UN)

        with locked(lock, let_go):
            pass
    assert said == ["waits"]


def test_a_digest_is_the_sha256_of_its_parts_one_after_the_other(tmp_path):
    expected = hashlib.sha256("µ12".encode()).hexdigest()
    assert digest("µ", b"12") == digest("µ1", memoryview(b"2")) == expected
    (tmp_path / "file").write_text("µ12", encoding="utf-8")
    assert file_digest(tmp_path / "file") == expected


def test_the_digest_of_a_file_is_of_its_content(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_bytes(b"weights")
    b.write_bytes(b"weights")
    content = hashlib.sha256(b"weights").digest()
    assert tree_digest(a) == hashlib.sha256(b"." + content).hexdigest()
    assert tree_digest(a) == tree_digest(b)
    b.write_bytes(b"weightz")
    assert tree_digest(a) != tree_digest(b)


def test_the_digest_of_a_directory_is_of_its_files_and_their_names(tmp_path):
    def tree(name, files):
        for path, content in files.items():
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).write_text(content)
        return tree_digest(tmp_path / name)

    first = tree("first", {"model.pb": "m", "variables/index": "i"})
    assert first == tree("copy", {"variables/index": "i", "model.pb": "m"})
    others = {
        tree("content", {"model.pb": "m", "variables/index": "j"}),
        tree("renamed", {"model.pb": "m", "variables/index2": "i"}),
        tree("moved", {"model.pb": "m", "index": "i"}),
        tree("more", {"model.pb": "m", "variables/index": "i", "extra": ""}),
        tree("swapped", {"model.pb": "i", "variables/index": "m"}),
    }
    assert len(others | {first}) == 6
