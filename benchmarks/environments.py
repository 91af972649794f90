"""The peers' environments: one each, made once, and again when its packages change."""

import pathlib
import subprocess
import sys

from benchmarks.contest import ROOT

DIRECTORY = ROOT / "benchmarks" / ".environments"


def python_of(peer: str, interpreter: str = sys.executable) -> str:
    """Returns the interpreter of a peer's environment, made if it is not there.

    Args:
        peer: Its requirements are in `benchmarks/peers/PEER.txt`.
        interpreter: Makes the environment.

    Raises:
        RuntimeError: If they cannot be installed.
    """
    requirements = pathlib.Path(__file__).parent / "peers" / f"{peer}.txt"
    directory = DIRECTORY / peer
    python, ready = directory / "bin" / "python", directory / "ready"
    if not ready.exists() or ready.read_text() != requirements.read_text():
        print(f"Installing {requirements.name} ...", file=sys.stderr, flush=True)
        subprocess.run([interpreter, "-m", "venv", "--clear", str(directory)], check=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "-r", str(requirements)]
        child = subprocess.run(command, capture_output=True, text=True, check=False)
        if child.returncode:
            errors = [line for line in child.stderr.splitlines() if line.startswith("ERROR")]
            raise RuntimeError(f"it cannot be installed: {' '.join(errors) or child.stderr[-300:]}")
        ready.write_text(requirements.read_text())
    return str(python)
