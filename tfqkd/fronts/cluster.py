"""The cluster that TF_CONFIG names; pure Python, so that it is checked before TensorFlow loads."""

import dataclasses
import json
import os


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The processes of a multi-worker run, and which of them this one is.

    Attributes:
        addresses: HOST:PORT of each process, by kind: `worker`, and `chief` if it stands apart.
        kind: This process's kind.
        index: Its place among those of its kind.
    """

    addresses: dict[str, list[str]]
    kind: str
    index: int

    @property
    def is_chief(self) -> bool:
        """Whether this process writes what all make together."""
        return (self.kind, self.index) == ("chief" if "chief" in self.addresses else "worker", 0)

    @classmethod
    def read(cls, text: str | None = None) -> "Cluster":
        """Reads and checks TF_CONFIG: TensorFlow accepts many wrong values and then waits forever.

        Args:
            text: Its value; that of the environment if None.

        Raises:
            ValueError: If it does not name a cluster of workers and this process as one of them.
        """
        text = os.environ.get("TF_CONFIG", "") if text is None else text
        try:
            config = json.loads(text)
            addresses, task = dict(config["cluster"]), dict(config["task"])
            cluster = cls(addresses, task["type"], task["index"])
            valid = cluster._is_valid()
        except (ValueError, KeyError, TypeError, AttributeError):
            valid = False
        if not valid:
            raise ValueError(
                "TF_CONFIG must name the addresses of all workers and which of them this process is. "
                f"Received: TF_CONFIG={text!r}. For the first of two: "
                '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, '
                '"task": {"type": "worker", "index": 0}}'
            )
        return cluster

    def _is_valid(self) -> bool:
        everyone = [address for group in self.addresses.values() for address in group]
        return (
            set(self.addresses) <= {"chief", "worker"}
            and len(self.addresses.get("chief", [])) <= 1
            and len(set(everyone)) == len(everyone)
            and all(map(_is_address, everyone))
            and type(self.index) is int
            and 0 <= self.index < len(self.addresses[self.kind])
        )


def _is_address(address: object) -> bool:
    host, _, port = address.rpartition(":") if isinstance(address, str) else ("", "", "")
    return bool(host) and port.isdecimal() and 0 < int(port) < 2**16
