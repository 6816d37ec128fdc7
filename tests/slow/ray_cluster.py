"""A real Ray cluster of two nodes on this machine, in a process of its own that is told what to do line by line."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.commands import PATIENCE_S, ROOT, session

HOST = "127.0.0.2"  # Ray takes 127.0.0.1 for this machine's address on the network
CORES = 2  # of each node
TAKEN_AWAY = 2  # Ray's number for "its machine is about to go"


class RayCluster:
    """The test's side."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.address = str(self._answer())

    def remove_node(self) -> None:
        """The second node dies at once."""
        self.ask("remove")

    def add_node(self) -> None:
        """Another one."""
        self.ask("add")

    def drain_node(self) -> None:
        """Tell Ray that the second node is about to be taken away."""
        self.ask("drain")

    def kill_actor(self) -> None:
        """End a child's actor for good."""
        self.ask("kill")

    def logs(self) -> str:
        """What its actors have printed."""
        return "".join(each.read_text() for each in Path(self.ask("logs")).glob("worker-*"))

    def end_hard(self) -> None:
        """All of it dies at once."""
        for pid in session(self._process.pid):
            os.kill(pid, signal.SIGKILL)

    def left(self) -> dict[str, Any]:
        """Names of the actors, number of placement groups, and free cores."""
        return dict(self.ask("left"))

    def ask(self, word: str) -> Any:
        """Say a word, and read the answer."""
        assert self._process.stdin is not None
        print(word, file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("answer "):
                return json.loads(line.removeprefix("answer "))
        raise AssertionError(f"the Ray cluster ended: {self._process.wait(PATIENCE_S)}")


@contextmanager
def ray_cluster(folder: Path) -> Iterator[RayCluster]:
    """Two nodes of ``CORES`` cores while the block runs."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("RAY_ADDRESS", None)
    with (folder / "ray.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.slow.ray_cluster"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    try:
        yield RayCluster(process)
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        try:
            process.wait(PATIENCE_S)
        finally:
            for pid in session(process.pid):
                os.kill(pid, signal.SIGKILL)
            process.stdout.close()


def _answers(value: object) -> None:
    sys.stdout.write(f"\nanswer {json.dumps(value)}\n")  # at once: Ray's threads print, too
    sys.stdout.flush()


def _left(ray: Any) -> dict[str, Any]:
    groups = ray.util.placement_group_table().values()
    return {
        "actors": [each["name"] for each in ray.util.list_named_actors(all_namespaces=True)],
        "groups": sum(each["state"] != "REMOVED" for each in groups),
        "cores": ray.available_resources().get("CPU", 0.0),
    }


def main() -> None:
    """Start it, and do what each line of standard input says."""
    import ray
    from ray.cluster_utils import Cluster

    node = {"num_cpus": CORES, "node_ip_address": HOST, "object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    second = cluster.add_node(**node)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    _answers(cluster.address)
    for line in sys.stdin:
        match line.strip():
            case "remove":
                cluster.remove_node(second, allow_graceful=False)
                _answers(None)
            case "add":
                second = cluster.add_node(**node)
                _answers(None)
            case "drain":
                client = ray._private.worker.global_worker.gcs_client
                until = int(1e3 * (time.time() + 60.0))
                _answers(client.drain_node(second.node_id, TAKEN_AWAY, "a test", until)[0])
            case "kill":
                named = next(
                    each for each in ray.util.list_named_actors(all_namespaces=True) if "child-0" in each["name"]
                )
                ray.kill(ray.get_actor(**named), no_restart=True)
                _answers(None)
            case "logs":
                _answers(cluster.head_node.get_logs_dir_path())
            case "left":
                _answers(_left(ray))
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main()
