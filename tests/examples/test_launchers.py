"""The launchers of several workers, with stand-ins for what they call."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

import pytest
import yaml

from tfqkd.cli import train
from tfqkd.fronts.cluster import Cluster

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"
# Says what it was started with, as a line of JSON, and ends as it is told to.
TRAIN = """#!/bin/sh
python3 -c '
import json, os, sys
# In one piece: another process writes to the same pipe.
os.write(1, (json.dumps([os.environ["TF_CONFIG"], sys.argv[1:]]) + "\\n").encode())' "$@"
exit "${STATUS:-0}"
"""
SRUN = """#!/bin/sh
for rank in 0 1 2; do SLURM_PROCID=$rank "$@" || status=$?; done
exit "${status:-0}"
"""
SCONTROL = """#!/bin/sh
echo "$@" >> calls
[ "$1" != show ] || printf 'node1\\nnode2\\nnode3\\n'
"""


def program(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def started(out):
    """The clusters and the arguments that each process was started with."""
    found = [json.loads(line) for line in out.splitlines() if line.startswith("[")]
    return [Cluster.read(config) for config, _ in found], [arguments for _, arguments in found]


def call(tmp_path, command, **environment):
    path = f"{tmp_path / 'stand-ins'}:{os.environ['PATH']}"
    return subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("status", [0, 1, 143])
def test_two_local_processes_name_each_other_and_their_status_is_that_of_the_job(tmp_path, status):
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    program(tmp_path / "bin" / "train", TRAIN)
    child = call(
        tmp_path,
        ["examples/two_local_workers.sh", "--bits=4", "--run_dir=a b"],
        STATUS=str(status),
        PORT="23456",
    )
    assert child.returncode == status
    clusters, arguments = started(child.stdout)
    assert arguments == [["--run.strategy=multi_worker", "--bits=4", "--run_dir=a b"]] * 2
    assert sorted(cluster.index for cluster in clusters) == [0, 1]
    for cluster in clusters:
        assert cluster.addresses == {"worker": ["127.0.0.1:23456", "127.0.0.1:23457"]}


WAITING = """#!/bin/sh
trap 'echo "$$ INT" >> signals; status=130' INT
trap 'echo "$$ TERM" >> signals; status=143' TERM
echo "$$" >> started
while [ -z "$status" ]; do sleep 0.05; done
sleep 0.3  # Time for a second signal.
exit "$status"
"""


@pytest.mark.parametrize(
    ("number", "name", "status"),
    [(signal.SIGINT, "INT", 130), (signal.SIGTERM, "TERM", 143)],
)
def test_each_local_worker_gets_the_signal_of_the_whole_group_once(tmp_path, number, name, status):
    """As Ctrl-C sends it: a worker that got it twice would end without its checkpoint."""
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    program(tmp_path / "bin" / "train", WAITING)
    child = subprocess.Popen(
        ["examples/two_local_workers.sh", "--run_dir=a b"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    end = time.monotonic() + 60
    while not (started := read_lines(tmp_path / "started"))[1:]:
        assert time.monotonic() < end
        time.sleep(0.02)
    os.killpg(child.pid, number)
    out, _ = child.communicate(timeout=60)
    assert child.returncode == status
    assert sorted(read_lines(tmp_path / "signals")) == sorted(f"{each} {name}" for each in started)
    assert out.splitlines()[-1].split() == [
        "To", "go", "on:", "examples/two_local_workers.sh", "--run_dir=a\\", "b"
    ]  # fmt: skip


def test_a_stop_that_comes_before_all_workers_are_started_reaches_them_all(tmp_path):
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    # The first one to start has the launcher stopped at once.
    at_once = 'mkdir first 2>/dev/null && kill -INT "$PPID"\nwhile'
    program(tmp_path / "bin" / "train", WAITING.replace("while", at_once))
    # Before each command of the launcher there is time for it.
    (tmp_path / "slowly").write_text("trap 'sleep 0.05' DEBUG")
    child = subprocess.run(
        ["examples/two_local_workers.sh"],
        cwd=tmp_path,
        env={**os.environ, "BASH_ENV": str(tmp_path / "slowly")},
        timeout=60,
        start_new_session=True,
        check=False,
    )
    assert child.returncode == 130
    signals = {line.split()[0] for line in read_lines(tmp_path / "signals")}
    assert signals == set(read_lines(tmp_path / "started"))


def read_lines(path):
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize("status", [0, 143])
def test_slurm_starts_a_process_on_each_node_and_queues_what_was_stopped_again(tmp_path, status):
    program(tmp_path / "bin" / "train", TRAIN)
    program(tmp_path / "stand-ins" / "srun", SRUN)
    program(tmp_path / "stand-ins" / "scontrol", SCONTROL)
    child = call(
        tmp_path,
        ["sh", str(EXAMPLES / "slurm.sh"), "--bits=4", "--run_dir=a b"],
        SLURM_SUBMIT_DIR=str(tmp_path),
        SLURM_JOB_ID="70003",
        SLURM_JOB_NODELIST="node[1-3]",
        STATUS=str(status),
    )
    assert child.returncode == status, child.stderr
    clusters, arguments = started(child.stdout)
    assert arguments == [["--run.strategy=multi_worker", "--bits=4", "--run_dir=a b"]] * 3
    assert [cluster.index for cluster in clusters] == [0, 1, 2]
    for cluster in clusters:
        assert cluster.addresses == {"worker": [f"node{i}:30003" for i in (1, 2, 3)]}
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[0] == "show hostnames node[1-3]"
    assert calls[1:] == (["requeue 70003"] if status == 143 else [])


def test_the_kubernetes_manifest_names_every_pod(tmp_path, monkeypatch):
    service, job = yaml.safe_load_all((EXAMPLES / "kubernetes.yaml").read_text())
    spec = job["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    count, name = job["spec"]["completions"], job["metadata"]["name"]
    assert job["spec"]["parallelism"] == count
    assert job["spec"]["completionMode"] == "Indexed"
    # An indexed pod is known as JOB-INDEX.SUBDOMAIN through a headless service of that name.
    assert service["spec"] == {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": {"job-name": name},
    }
    assert spec["subdomain"] == service["metadata"]["name"]
    port = container["ports"][0]["containerPort"]
    expected = [f"{name}-{index}.{spec['subdomain']}:{port}" for index in range(count)]
    program(tmp_path / "stand-ins" / "tfqkd-train", TRAIN)
    for index in range(count):
        command = [*container["command"], *container["args"]]
        child = call(tmp_path, command, JOB_COMPLETION_INDEX=str(index))
        (cluster,), (arguments,) = started(child.stdout)
        assert cluster == Cluster({"worker": expected}, "worker", index)
        assert arguments == ["--run.strategy=multi_worker", *container["args"]]
    # What it passes are flags of bin/train, and they go to the volume that all pods share.
    mounted = [mount["mountPath"] for mount in container["volumeMounts"]]
    seen = []
    monkeypatch.setattr("tfqkd.cli.train._run", lambda *values: seen.append(values))
    monkeypatch.setenv("TF_CONFIG", json.dumps({
        "cluster": {"worker": expected}, "task": {"type": "worker", "index": 0}
    }))  # fmt: skip
    assert train.main(["train", *arguments]) == 0
    ((_, directory, *_),) = seen
    assert any(directory.is_relative_to(mount) for mount in mounted)
