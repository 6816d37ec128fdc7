"""Write the files of this folder again: ``python -m tests.golden.make``. CONTRIBUTING.md says when that is right."""

import os
import tempfile
from pathlib import Path

from tests.golden.conversation import said
from tests.golden.files import store, stored
from tests.golden.runs import RUNS, any_processor, machine, played

if __name__ == "__main__":
    store("messages", said())
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"MARL_HOME": str(Path(folder, "home")), **any_processor()}
        found = {}
        for number, name in enumerate(RUNS):
            run = Path(folder, str(number))
            run.mkdir()
            found[name] = played(name, run)
            print(name, found[name]["weights"])
    store("runs", stored("runs") | {machine(): found})
