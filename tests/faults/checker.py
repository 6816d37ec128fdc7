"""Reads what all processes of a run have written down (``MARL_HISTORY``) and says where a promise was broken."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from marl.averaging.mean import RunningMean

Event = dict[str, Any]


def read_history(folder: Path) -> list[Event]:
    """All events, in the order of this machine's clock; a line that a kill cut short is skipped."""
    events = []
    for path in folder.glob("*.jsonl"):
        for line in path.read_text().splitlines():
            try:
                events.append(json.loads(line))
            except ValueError:
                continue
    return sorted(events, key=lambda event: event["time"])


def broken_promises(folder: Path) -> list[str]:
    """One line for each promise that was broken; empty if none was."""
    events = read_history(folder)
    return [
        *_nothing_goes_back(events),
        *_a_restart_costs_one_round_at_most(events),
        *_every_upload_counts_at_most_once(events),
        *_only_what_was_sent_is_merged(events),
        *_all_hold_the_same_bits(events),
        *_the_mean_is_right(events, folder),
        *_everything_is_finite(events, folder),
    ]


def _of(events: list[Event], *names: str) -> list[Event]:
    return [event for event in events if event["event"] in names]


def _nothing_goes_back(events: list[Event]) -> list[str]:
    """Versions at a child never go back within a term, terms never go back."""
    found, last = [], {}
    for event in _of(events, "applied"):
        place = (event["process"], event["child"])
        now = (event["epoch"], event["version"])
        if now < last.get(place, (0, 0)):
            found.append(f"{event['child']} went back from {last[place]} to {now}")
        last[place] = now
    return found


def _a_restart_costs_one_round_at_most(events: list[Event]) -> list[str]:
    """The first round of a parent that goes on makes the version after the one that its last checkpoint has."""
    found, reached = [], dict[int, int]()
    for event in _of(events, "round"):
        term, version = event["epoch"], event["version"]
        if term not in reached and version < max(reached.values(), default=0):
            found.append(f"term {term} began with version {version}, {max(reached.values())} was there before")
        reached[term] = version
    return found


def _every_upload_counts_at_most_once(events: list[Event]) -> list[str]:
    found, seen = [], set()
    sent = {(e["child"], e["counter"], e["epoch"], e["version"], e["process"]) for e in _of(events, "upload")}
    lives: dict[tuple[Any, ...], int] = defaultdict(int)  # a child that was started anew counts from 1 again
    for child, counter, term, version, _ in sent:
        lives[child, counter, term, version] += 1
    merged: dict[tuple[Any, ...], int] = defaultdict(int)
    for event in _of(events, "merged"):
        merged[event["child"], event["counter"], event["epoch"], event["version"]] += 1
        place = (event["epoch"], event["round"], event["child"], event["counter"])
        if place in seen:
            found.append(f"upload {event['counter']} of {event['child']} was merged twice in round {event['round']}")
        seen.add(place)
    for upload, times in merged.items():
        if times > lives[upload]:
            found.append(f"{upload}: merged {times} times, sent {lives[upload]} times")
    return found


def _only_what_was_sent_is_merged(events: list[Event]) -> list[str]:
    """Bit for bit, where whole weights travel."""
    sent: dict[tuple[Any, ...], set[str]] = defaultdict(set)
    for event in _of(events, "upload"):
        sent[event["child"], event["counter"], event["epoch"], event["version"]].add(event.get("hash", ""))
    found = []
    for event in _of(events, "merged"):
        upload = f"upload {event['counter']} of version {event['version']}"
        bits = sent.get((event["child"], event["counter"], event["epoch"], event["version"]), set())
        if not bits:
            found.append(f"{event['child']} never sent {upload}, which was merged")
        elif "" not in bits and event["hash"] not in bits:
            found.append(f"{event['child']} sent other bits as {upload} than were merged")
    return found


def _all_hold_the_same_bits(events: list[Event]) -> list[str]:
    """Whoever holds a version holds what the parent made of it."""
    made = {(e["epoch"], e["version"]): e["hash"] for e in _of(events, "round")}
    return [
        f"{event['child']} holds other bits of version {event['version']} than the parent made"
        for event in _of(events, "applied")
        if made.get((event["epoch"], event["version"]), event["hash"]) != event["hash"]
    ]


def _the_mean_is_right(events: list[Event], folder: Path) -> list[str]:
    """Each round averaged again from what was merged, cut as the parent has cut it: plain averaging, bit for bit."""
    found = []
    rounds = _of(events, "round")
    merged: dict[tuple[int, int], list[Event]] = defaultdict(list)
    for event in _of(events, "merged"):
        merged[event["epoch"], event["round"]].append(event)
    made = {(e["epoch"], e["version"]): e["hash"] for e in rounds}
    for event in rounds:
        term, number = event["epoch"], event["round"] - 1
        uploads = merged[term, number]
        if not uploads or any(each["is_change"] for each in uploads):
            continue
        base_hash = made.get((term, uploads[0]["version"]))
        if base_hash is None:  # the first version of a term comes from nowhere that was written down
            base_hash = next(
                (
                    e["hash"]
                    for e in _of(events, "applied")
                    if (e["epoch"], e["version"]) == (term, uploads[0]["version"])
                ),
                None,
            )
        if base_hash is None:
            continue
        base = _weights(folder, base_hash)
        mean = RunningMean(len(base))
        mean.begin(base)
        for each in uploads:
            factor = each["factor"]
            mean.add(_weights(folder, each["hash"]), each["weight"], shorten=lambda norm, factor=factor: factor)
        if not mean.total_work:
            continue
        again = mean.mean(torch.empty_like(base))
        if not torch.equal(again, _weights(folder, event["hash"])):
            found.append(f"round {number} of term {term}: averaging again gives other bits")
    return found


def _everything_is_finite(events: list[Event], folder: Path) -> list[str]:
    return [
        f"version {event['version']} is not finite"
        for event in _of(events, "round")
        if not bool(_weights(folder, event["hash"]).isfinite().all())
    ]


def _weights(folder: Path, name: str) -> torch.Tensor:
    return torch.from_numpy(np.fromfile(folder / f"{name}.weights", np.float32))
