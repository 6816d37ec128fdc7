"""A forkserver that still loads when its main process ends, ends too: loading takes it seconds."""

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SLOW = "import os, threading; print(os.getpid(), flush=True); threading.Event().wait()"


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's part of it is Linux's")
def test_a_forkserver_that_loads_ends_with_its_main_process(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text(SLOW)
    code = "from marl.processes import bootstrap; bootstrap.start_forkserver(); input()"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    with subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as main:
        assert main.stdout is not None
        forkserver = os.pidfd_open(int(main.stdout.readline()))
        main.kill()
        assert select.select([forkserver], [], [], 20)[0], "it goes on loading"
        os.close(forkserver)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no forkserver")
@pytest.mark.parametrize("length", [76, 90, 200])
def test_sockets_have_short_paths_where_the_folder_of_temporary_files_has_a_long_one(
    length: int, tmp_path: Path
) -> None:
    folder = tmp_path / ("x" * (length - len(str(tmp_path)) - 1))
    folder.mkdir()
    (tmp_path / "torch.py").write_text("")
    code = (
        "from marl.processes import bootstrap; bootstrap.start_forkserver(); "
        "from multiprocessing import forkserver; print(forkserver._forkserver._forkserver_address)"
    )
    environment = {**os.environ, "TMPDIR": str(folder), "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert len(done.stdout.strip()) < 104
    assert not Path(done.stdout.strip()).parent.exists()  # it has tidied up


def test_who_is_too_late_to_be_told_ends_at_once() -> None:
    code = "from marl.processes.parent_death import die_with; die_with(1); print('lives')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout) == ((1, "") if sys.platform == "linux" else (0, "lives\n"))
