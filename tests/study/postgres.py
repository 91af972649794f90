"""A PostgreSQL of the test's own, on loopback."""

import contextlib
import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator

import pytest

_ACCOUNT = "postgres"


def _program(name: str) -> str | None:
    # Debian keeps the server's programs out of the PATH.
    versions = sorted(pathlib.Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (str(versions[-1]) if versions else None)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def running() -> Iterator[str]:
    """Yields the URL of an empty database; skips the test where there is no PostgreSQL."""
    pytest.importorskip("psycopg", reason="needs psycopg: pip install '.[study]'")
    initdb, control = _program("initdb"), _program("pg_ctl")
    if not initdb or not control:
        pytest.skip("needs PostgreSQL: apt-get install postgresql")
    identity = {}
    if os.geteuid() == 0:
        # The server refuses to run as root.
        try:
            account = pwd.getpwnam(_ACCOUNT)
        except KeyError:
            pytest.skip(f"needs the account {_ACCOUNT}: the server does not run as root")
        identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}

    def call(*command: str) -> None:
        subprocess.run(
            command, check=True, cwd="/", stdout=log, stderr=subprocess.STDOUT, **identity
        )

    # Not under pytest's directory: only its owner may enter that.
    directory = pathlib.Path(tempfile.mkdtemp(prefix="tfqkd-postgres-"))
    if identity:
        os.chown(directory, identity["user"], identity["group"])
    data, port = str(directory / "data"), free_port()
    options = f"-p {port} -c listen_addresses=127.0.0.1 -k {directory} -c fsync=off"
    with tempfile.TemporaryFile() as log:
        try:
            call(initdb, "-D", data, "-U", "tester", "--auth=trust", "-E", "UTF8", "--no-sync")
            call(control, "-D", data, "-o", options, "-l", f"{directory}/log", "-w", "start")
            yield f"postgresql://tester@127.0.0.1:{port}/postgres"
            call(control, "-D", data, "-m", "immediate", "stop")
        except subprocess.CalledProcessError as error:
            log.seek(0)
            raise RuntimeError(log.read().decode()) from error
        finally:
            shutil.rmtree(directory, ignore_errors=True)
