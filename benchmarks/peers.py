"""A virtual environment for the peers, made on first use, so that none of their packages reach ours.

python benchmarks/peers.py      # makes it and prints its Python
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "benchmarks" / "requirements-peers.txt"


def peers_python() -> Path:
    """Return the Python of ``.venv-peers`` (``MARL_PEERS_VENV`` moves it), installing what is missing.

    Raises:
        SystemExit: an installation failed; pip's own output says why.
    """
    folder = Path(os.environ.get("MARL_PEERS_VENV") or ROOT / ".venv-peers")
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = folder / "installed"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text() == wanted:
        return python

    print(f"Installing the peers into {folder.name} (once; a few minutes) ...", file=sys.stderr, flush=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([sys.executable, "-m", "venv", str(folder)])
    # torch first and alone: a peer must not choose another build of it than ours.
    _run([*pip, _torch_pin()])
    _run([*pip, "-r", str(REQUIREMENTS)])
    stamp.write_text(wanted)
    return python


def _torch_pin() -> str:
    return next(line.strip() for line in REQUIREMENTS.read_text().splitlines() if line.startswith("torch=="))


def _run(command: list[str]) -> None:
    status = subprocess.run(command, check=False).returncode
    if status:
        raise SystemExit(f"the peers' environment could not be made: {' '.join(command[:5])} ... ended with {status}")


if __name__ == "__main__":
    print(peers_python())
