"""Stands in for ``marl.studies.one_run``: does with a job what its setting ``environment.kwargs.do`` says, at once."""

import json
import os
import sys
from pathlib import Path

job = json.loads(sys.stdin.buffer.readline())
place = Path(job["place"])
with open(place / "jobs.jsonl", "a") as file:
    file.write(json.dumps(job) + "\n")
do = job["settings"].get("environment.kwargs.do", "finish")
if do == "wait":
    os.read(0, 1)  # until the study ends
    (place / "stopped").touch()
elif do == "fail":
    print("a line before", flush=True)
    sys.exit("Error: expected a game, got none")
elif do == "die":
    os.kill(os.getpid(), 9)
