"""Train on children: one thread a child, one round after another, and the global weights judged and saved."""

import contextlib
import secrets
import threading
import time
from typing import Any

import msgspec
import torch
from torch import nn

from marl.algorithms.build import build_network
from marl.cluster.addresses import Address, parse_addresses
from marl.cluster.fleets.cluster_settings import Cluster
from marl.cluster.fleets.dialing import Dialing
from marl.cluster.fleets.local import LocalChildren
from marl.cluster.handshake import make_hello, payload_of
from marl.cluster.runs.audit import Audit
from marl.cluster.runs.training import Counts, Training
from marl.cluster.snapshot import Snapshot
from marl.cluster.statistics import statistics_of, statistics_size, tensors_of
from marl.cluster.trainers.caller import Caller, Plan, Registry
from marl.cluster.trainers.child_metrics import ChildrenMetrics
from marl.cluster.trainers.measures import find_reach, seen_beside
from marl.config.settings import Config
from marl.data.normalizer import Moments
from marl.data.spaces import Spaces
from marl.errors import NoChildren, Superseded
from marl.exchanges.base import ParentFacts
from marl.exchanges.sides import RunSide
from marl.reports.events import ChildRow, Progress
from marl.reports.meter import NO_SPEED
from marl.reports.pace import Pace, Speed
from marl.reports.run_folder import RunFolder, write_atomic
from marl.reports.stream import Stream
from marl.training.flat import flatten
from marl.training.weights_file import WeightsFile, fill
from marl.trust.home import marl_home
from marl.wire.endpoint import Endpoint
from marl.wire.hello import Welcome

NAME = "parent"
LEADER = "leader"  # file of a run folder: which parent writes there
LOOK_EVERY = 0.5  # seconds between two looks at keys, revocations and local children
LAST_ROUND_S = 1.5  # for what children have learned since the last round, when the run ends
MAX_REASONS = 3  # named in one line
JOIN_S = 3.0  # for conversations to end


class ParentTraining(Training):
    """One run on children."""

    def __init__(
        self,
        config: Config,
        spaces: Spaces,
        folder: RunFolder,
        events: Stream,
        cluster: Cluster,
        local: LocalChildren | None,
        *,
        sample: Moments | None = None,
        initial: WeightsFile | None = None,
        resumed: WeightsFile | None = None,
    ) -> None:
        """
        Args:
            local: children that were started for this run; their addresses come before the cluster's own.
            sample: what this machine has seen itself, by which the children's statistics are judged.
        """
        super().__init__(config, spaces, folder, events, initial=initial, resumed=resumed)
        self._cluster, self._local, self._sample = cluster, local, sample
        self._dialing: Dialing | None = None
        self._evaluated_version = 0
        self._saved_version = 0
        self._look_at = 0.0
        self._missing: list[str] = []
        self._rows: list[ChildRow] = []
        self._last_speed = NO_SPEED

    def _open(self) -> None:
        config, spaces = self._config, self._spaces
        endpoints = self._endpoints()
        network = build_network(config.algorithm, spaces, config.network, config.seed or 0)
        statistics: Moments | None = None
        for file in (self._initial, self._resumed):
            if file is not None:
                fill(network, file, "the weights to start from")
                statistics = statistics_of(config, file.tensors)
        info = self._resumed.info if self._resumed is not None else {}
        self._run_id = str(info.get("run_id") or f"{self._folder.path.name}-{secrets.token_hex(4)}")
        self._child_metrics = ChildrenMetrics(info.get("told"))
        self._side = self._make_side(network, statistics, info, len(endpoints))
        audited = self._side.audited()
        self._audit = None if audited is None else Audit(config, spaces, self._group, audited, self._events.note)
        self._base_updates = int(info.get("updates", 0))
        self._instance = secrets.token_hex(8)
        hello = make_hello(
            config,
            spaces,
            network,
            run_id=self._run_id,
            epoch=self._side.epoch,
            instance=self._instance,
            children=len(endpoints),
        )
        longest = payload_of(config, spaces, network)
        plan = Plan(hello, longest, self._side, NAME, self._events, self._child_metrics.forget)
        self._registry = Registry(info.get("instances"))
        self._callers = [Caller(endpoint, rank, plan, self._registry) for rank, endpoint in enumerate(endpoints)]

    def _make_side(
        self, network: nn.Module, statistics: Moments | None, info: dict[str, Any], num_children: int
    ) -> RunSide:
        """The exchange's half for this run, as a resumed parent left it.

        Args:
            info: of the checkpoint; empty for a new run.
        """
        config = self._config
        facts = ParentFacts(
            config,
            self._spaces,
            flatten(network).weights,
            name=NAME,
            children=num_children,
            observation_size=statistics_size(config, self._spaces),
            statistics=statistics,
            sample=self._sample,
            reach=find_reach(config, network),
            seen_beside=seen_beside(config),
            epoch=int(info.get("epoch", 0)) + 1,
            version=int(info.get("version", 0)),
            steps=int(info.get("steps", 0)),
            hear=self._child_metrics.hear,
            note=self._events.note,
        )
        side = config.exchange.parent(facts)
        if self._resumed is not None:
            side.restore(self._resumed.tensors, info.get("merged", {}), info.get("limits", {}))
        return side

    def _endpoints(self) -> list[Endpoint]:
        """One for each child, in the order of their ranks."""
        addresses = self._addresses()
        if addresses:
            home = marl_home() if self._local is None else self._local.home
            self._dialing = Dialing(addresses, self._cluster.trust, home, self._events.note)
        return [*(self._dialing.endpoints if self._dialing else ()), *self._cluster.endpoints]

    def _addresses(self) -> list[Address]:
        local = self._local.addresses(self._config.node.workers) if self._local is not None else []
        return parse_addresses([*local, *self._cluster.children], self._cluster.port)

    def _start(self) -> None:
        self._take_lead()
        if self._resumed is not None:
            # The new epoch is on disk before any child hears of it: no two parents ever have the same.
            self._save(self._snapshot())
            self._writer.flush()
        for caller in self._callers:
            caller.start()

    def _stop(self) -> None:
        for caller in self._callers:
            caller.stop()
        self._side.close()
        deadline = time.monotonic() + JOIN_S
        for caller in self._callers:
            if caller.is_alive():
                caller.join(max(0.0, deadline - time.monotonic()))
        self._child_metrics.close()

    def never_began(self) -> bool:
        """Whether nothing was played at all."""
        return not any(caller.ever_in for caller in self._callers)

    def _interrupted(self) -> None:
        self._side.last_round(LAST_ROUND_S)

    def _close(self) -> None:
        if self._dialing is not None:
            self._dialing.close()

    def _tend(self, stopped: threading.Event) -> str | None:
        self._look_around()
        if self._config.deterministic:
            return self._after_round(stopped)
        self._collect_episodes()
        reason = self._reason()
        if reason not in (None, "solved"):
            self._side.last_round(LAST_ROUND_S)
        if reason is None:
            version = self._side.current.version
            if self._audit is not None:
                self._audit.tend()
            self._evaluation.collect()
            if version > self._evaluated_version and self._evaluation.offer(self._snapshot):
                self._evaluated_version = version
            if version > self._saved_version:
                self._saved_version = version
                self._save(self._snapshot())
        return reason

    def _after_round(self, stopped: threading.Event) -> str | None:
        """The children wait for the new version: decide, save, let them go on."""
        version = self._side.current.version
        if version == self._saved_version:
            return None
        self._saved_version = version
        self._collect_episodes()
        snapshot = self._snapshot()
        if self._evaluation.decides and (self._meter.solved() or version % 4 == 0):
            self._evaluation.wait_for(snapshot, stopped)
        self._save(snapshot)
        reason = self._reason()
        if reason is None:
            self._side.release()
        return reason

    def _look_around(self) -> None:
        """Now and then: whether anybody is there, who was revoked, whether the key has changed."""
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_EVERY
        if self._dialing is not None:
            self._dialing.poll()
        if self._local is not None:
            for line in self._local.died():
                self._events.note(line)
        for caller in self._callers:
            caller.check()
        for caller in self._callers:
            if caller.superseded:
                raise Superseded(caller.why)
        if not self._leads():
            raise Superseded(f"another parent has gone on with {self._folder.path}: this one must stop")
        nobody = not any(caller.ever_in for caller in self._callers)
        if self._config.deterministic and not nobody:
            missing = [caller.address for caller in self._callers if caller.state != "training"]
            if missing and missing != self._missing:
                self._events.note(f"the run stands still until {', '.join(missing)} can go on")
            self._missing = missing
        alive = [caller.is_alive() for caller in self._callers]
        over = not (all(alive) if self._config.deterministic else any(alive))
        asking = any(caller.state == "asking" for caller in self._callers)
        if over or (nobody and not asking and now - self._started > self._cluster.wait_s):
            raise NoChildren(self._complaint(over))

    def _complaint(self, over: bool) -> str:
        callers = [caller for caller in self._callers if not (over and caller.is_alive())]
        reasons = list(dict.fromkeys(caller.why or _silent(caller) for caller in callers))
        told = "; ".join(reasons[:MAX_REASONS])
        if len(reasons) > MAX_REASONS:
            told += f"; and {len(reasons) - MAX_REASONS} more"
        if len(callers) < len(self._callers):
            return f"a deterministic run cannot go on without one of its children, and trying again cannot help: {told}"
        if over:
            return f"no child can take part in this run, and trying again cannot help: {told}"
        return f"no child took part within {self._cluster.wait_s:g} s (--wait): {told}"

    def _collect_episodes(self) -> None:
        self._add_episodes(*self._child_metrics.episodes([caller.node for caller in self._callers]))

    def _steps(self) -> int:
        return self._side.current.steps

    def _counts(self) -> Counts:
        names = [caller.node for caller in self._callers]
        return self._child_metrics.counts(names)

    def _learned(self) -> bool:
        return super()._learned() or self._side.current.version > 0  # what children report of updates may lag behind

    def _snapshot(self) -> Snapshot:
        self._state = state = self._side.saved()  # what is saved beside the tensors belongs to them
        tensors: dict[str, torch.Tensor] = {"weights": state.current.weights}
        tensors |= tensors_of(self._config, state.current.slot)
        tensors |= {
            name: each for name, each in (("velocity", state.velocity), ("error", state.error)) if each is not None
        }
        updates = self._base_updates + int(self._counts().updates.sum())
        return Snapshot(tensors, state.current.steps, updates)

    def _save(self, snapshot: Snapshot) -> None:
        if self._leads():
            super()._save(snapshot)

    def _record(self) -> None:
        if self._leads():
            self._folder.update_facts(self._facts())
            super()._record()

    def _take_lead(self) -> None:
        """Say in the run folder who writes there: a parent that stood still meanwhile sees it when it wakes."""
        with contextlib.suppress(OSError):  # the children still know
            write_atomic(self._folder.path / LEADER, self._instance.encode())

    def _leads(self) -> bool:
        """Whether the run folder is still this parent's."""
        if any(caller.superseded for caller in self._callers):
            return False
        try:
            return (self._folder.path / LEADER).read_text() == self._instance
        except OSError:
            return True

    def _saved(self) -> dict[str, Any]:
        state = self._state
        return {
            "run_id": self._run_id,
            "epoch": self._side.epoch,
            "version": state.current.version,
            "merged": state.merged,
            "limits": state.limits,
            "instances": self._registry.instances(),
            "told": self._child_metrics.state(),
        }

    def _facts(self) -> dict[str, Any]:
        """Who takes part; what a child runs on is known once it has been in."""
        return {"children": {caller.address: _machine(caller.welcome) for caller in self._callers}}

    def _speed(self, pace: Pace, counts: Counts) -> Speed:
        """Reports come in their own time: the view shows the children's speeds, measured over seconds."""
        if pace is not self._shown:
            return super()._speed(pace, counts)
        if self._ended is None:
            now = time.monotonic()
            child_metrics = [
                self._child_metrics.of(caller.node) for caller in self._callers if caller.state == "training"
            ]
            rates = tuple(tally.steps_per_second(now) for tally in child_metrics if tally is not None)
            self._last_speed = Speed(sum(rates), rates)
        return self._last_speed

    def _progress(self) -> Progress:
        if self._ended is None:  # afterwards, the children's rows stay as they were
            now = time.monotonic()
            self._rows = [self._row(caller, now) for caller in self._callers]
        return msgspec.structs.replace(super()._progress(), children=self._rows)

    def _row(self, caller: Caller, now: float) -> ChildRow:
        tally = self._child_metrics.of(caller.node)
        member = self._side.members.get(caller.node or "")
        if caller.state != "training" or tally is None or member is None or caller.link is None:
            return ChildRow(caller.address, caller.state)
        link = caller.link
        return ChildRow(
            address=caller.address,
            state="training",
            workers=None if caller.welcome is None else caller.welcome.workers,
            cores=None if caller.welcome is None else caller.welcome.cores,
            steps_per_second=tally.steps_per_second(now),
            return_mean=tally.return_mean(),
            version=member.version,
            answer_age=now - member.answered_at,
            bytes_per_second=tally.bytes_per_second(link.bytes_sent + link.bytes_received, now),
            round_trip=link.round_trip,
        )


def _machine(welcome: Welcome | None) -> dict[str, Any] | None:
    return None if welcome is None else {**welcome.host, "workers": welcome.workers, "cores": welcome.cores}


def _silent(caller: Caller) -> str:
    return f"{caller.address}: expected a marl child, got no answer yet: see whether it runs and no firewall is between"
