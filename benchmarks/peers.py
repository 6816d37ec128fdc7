"""Virtual environments for the peers, made on first use, so that none of their packages reach ours.

python benchmarks/peers.py            # makes .venv-peers and prints its Python
python benchmarks/peers.py rllib      # the same for .venv-peers-rllib; also: rounds, samplefactory
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def peers_python(kind: str = "") -> Path:
    """Return the Python of ``.venv-peers``, or of ``.venv-peers-<kind>``, installing what is missing.

    ``MARL_PEERS_VENV`` and ``MARL_PEERS_<KIND>_VENV`` move them.

    Raises:
        SystemExit: an installation failed; pip's own output says why.
    """
    name = f"peers-{kind}" if kind else "peers"
    requirements = ROOT / "benchmarks" / f"requirements-{name}.txt"
    variable = f"MARL_{name.upper().replace('-', '_')}_VENV"
    folder = Path(os.environ.get(variable) or ROOT / f".venv-{name}")
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = folder / "installed"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text() == wanted:
        return python

    print(f"Installing the peers into {folder.name} (once; a few minutes) ...", file=sys.stderr, flush=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([sys.executable, "-m", "venv", str(folder)])
    # torch first and alone: a peer must not choose another build of it than ours.
    _run([*pip, _torch_pin(requirements)])
    _run([*pip, "-r", str(requirements)])
    stamp.write_text(wanted)
    return python


def _torch_pin(requirements: Path) -> str:
    return next(line.strip() for line in requirements.read_text().splitlines() if line.startswith("torch=="))


def _run(command: list[str]) -> None:
    status = subprocess.run(command, check=False).returncode
    if status:
        raise SystemExit(f"the peers' environment could not be made: {' '.join(command[:5])} ... ended with {status}")


if __name__ == "__main__":
    print(peers_python(*sys.argv[1:2]))
