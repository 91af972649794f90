"""A MySQL server (Debian's is MariaDB) of the test's own, on loopback."""

import contextlib
import getpass
import pathlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator

import pytest

from .postgres import free_port

_SECONDS_TO_START = 60


@contextlib.contextmanager
def running() -> Iterator[str]:
    """Yields the URL of an empty database; skips the test where there is no server."""
    pytest.importorskip("pymysql", reason="needs PyMySQL: pip install '.[study]'")
    install, server = shutil.which("mariadb-install-db"), shutil.which("mariadbd")
    if not install or not server:
        pytest.skip("needs MariaDB: apt-get install mariadb-server")
    directory = pathlib.Path(tempfile.mkdtemp(prefix="tfqkd-mysql-"))
    # The server refuses to run as root unless it is told to.
    common = ["--no-defaults", f"--datadir={directory / 'data'}", f"--user={getpass.getuser()}"]
    port, log = free_port(), directory / "log"
    place = [f"--port={port}", "--bind-address=127.0.0.1", f"--socket={directory / 'socket'}"]
    options = directory / "my.cnf"
    options.write_text("[client]\nuser=tester\npassword=secret\n")
    with log.open("w") as output:
        streams = {"stdout": output, "stderr": subprocess.STDOUT}
        root = "--auth-root-authentication-method=normal"
        try:
            subprocess.run([install, *common, root, "--skip-test-db"], check=True, **streams)
            with subprocess.Popen([server, *common, *place], **streams) as process:
                try:
                    _make_database(port, process)
                    yield f"mysql+pymysql://127.0.0.1:{port}/studies?read_default_file={options}"
                finally:
                    process.terminate()
        except subprocess.CalledProcessError as error:
            raise RuntimeError(log.read_text()) from error
        finally:
            shutil.rmtree(directory, ignore_errors=True)


def _make_database(port: int, process: subprocess.Popen) -> None:
    import pymysql

    end = time.monotonic() + _SECONDS_TO_START
    while True:
        try:
            connection = pymysql.connect(host="127.0.0.1", port=port, user="root")
            break
        except pymysql.err.OperationalError:
            if process.poll() is not None or time.monotonic() > end:
                raise
            time.sleep(0.2)
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE studies")
        cursor.execute("CREATE USER tester IDENTIFIED BY 'secret'")
        cursor.execute("GRANT ALL ON studies.* TO tester")
