import json

import pytest

from tfqkd.fronts.cluster import Cluster

TWO = ["10.0.0.1:2222", "10.0.0.2:2222"]


def config(kind="worker", index=0, **addresses):
    return json.dumps({"cluster": addresses, "task": {"type": kind, "index": index}})


@pytest.mark.parametrize(
    ("text", "chief"),
    [
        (config(worker=TWO), True),
        (config(worker=TWO, index=1), False),
        (config("chief", worker=TWO, chief=["10.0.0.3:1"]), True),
        (config(worker=TWO, chief=["10.0.0.3:1"]), False),
    ],
)
def test_one_process_is_the_chief(text, chief, monkeypatch):
    assert Cluster.read(text).is_chief == chief
    monkeypatch.setenv("TF_CONFIG", text)
    assert Cluster.read() == Cluster.read(text)


BAD = {
    "empty": "",
    "no JSON": "{",
    "a list": "[]",
    "no cluster": '{"task": {"type": "worker", "index": 0}}',
    "no task": json.dumps({"cluster": {"worker": TWO}}),
    "index too high": config(worker=TWO, index=2),
    "index below zero": config(worker=TWO, index=-1),
    "index as text": config(worker=TWO, index="0"),
    "another kind": config("evaluator", worker=TWO),
    "parameter servers": config(worker=TWO, ps=["10.0.0.9:1"]),
    "two chiefs": config(worker=TWO, chief=["a:1", "b:1"]),
    "one address twice": config(worker=[TWO[0], TWO[0]]),
    "no port": config(worker=["10.0.0.1"]),
    "port too high": config(worker=["10.0.0.1:70000"]),
    "address as number": config(worker=[2222]),
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_what_is_no_cluster_is_refused(text):
    with pytest.raises(ValueError) as error:
        Cluster.read(text)
    assert "must name the addresses of all workers" in str(error.value)
    assert f"Received: TF_CONFIG={text!r}." in str(error.value)
