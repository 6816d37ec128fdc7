"""The checker finds what it looks for: each promise is broken once, on paper."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from marl.digests import name_of as named
from tests.faults.checker import broken_promises

BASE, SENT = torch.zeros(4), torch.full((4,), 2.0)


def name_of(weights: torch.Tensor) -> str:
    return named(weights.numpy().tobytes())


def a_round() -> list[dict[str, Any]]:
    """One child, one round, all well."""
    place = {"child": "a", "epoch": 1}
    new, old = name_of(SENT), name_of(BASE)
    return [
        {"event": "applied", **place, "version": 0, "hash": old, "counter": 0, "merged": False},
        {"event": "upload", **place, "version": 0, "counter": 1, "work": 10},
        {
            "event": "merged",
            **place,
            "version": 0,
            "round": 0,
            "counter": 1,
            "work": 10,
            "weight": 10,
            "factor": 1.0,
            "hash": new,
            "is_change": False,
        },
        {"event": "round", "epoch": 1, "version": 1, "round": 1, "steps": 10, "hash": new},
        {"event": "applied", **place, "version": 1, "hash": new, "counter": 1, "merged": True},
    ]


def check(folder: Path, events: list[dict[str, Any]], *more: torch.Tensor) -> list[str]:
    for weights in (BASE, SENT, *more):
        (folder / f"{name_of(weights)}.weights").write_bytes(weights.numpy().tobytes())
    lines = [json.dumps({**event, "process": 1, "number": place, "time": place}) for place, event in enumerate(events)]
    (folder / "1.jsonl").write_text("\n".join(lines) + "\n{cut sho")
    return broken_promises(folder)


def test_all_is_well(tmp_path: Path) -> None:
    assert check(tmp_path, a_round()) == []


@pytest.mark.parametrize(
    ("place", "changes", "complaint"),
    [
        (0, {"version": 5}, "went back"),
        (1, {"counter": 7}, "never sent"),
        (1, {"hash": name_of(BASE)}, "sent other bits"),
        (3, {"hash": name_of(BASE)}, "averaging again gives other bits"),
        (4, {"hash": name_of(BASE)}, "holds other bits"),
    ],
)
def test_one_promise_is_broken(place: int, changes: dict[str, Any], complaint: str, tmp_path: Path) -> None:
    events = a_round()
    events[place] |= changes
    found = check(tmp_path, events)
    assert any(complaint in line for line in found), found


def test_an_upload_counts_twice(tmp_path: Path) -> None:
    events = a_round()
    events.insert(3, events[2])
    assert any("twice" in line for line in check(tmp_path, events))


def test_weights_are_not_finite(tmp_path: Path) -> None:
    bad = torch.full((4,), float("nan"))
    events = [{"event": "round", "epoch": 1, "version": 1, "round": 1, "steps": 1, "hash": name_of(bad)}]
    assert any("not finite" in line for line in check(tmp_path, events, bad))


@pytest.mark.parametrize(("version", "complaint"), [(6, ""), (5, ""), (4, "term 2 began with version 4, 5 was there")])
def test_a_restart_may_cost_one_round(version: int, complaint: str, tmp_path: Path) -> None:
    rounds = [(1, 4), (1, 5), (2, version), (2, version + 1)]
    events = [
        {"event": "round", "epoch": term, "version": made, "round": 1, "steps": 1, "hash": name_of(SENT)}
        for term, made in rounds
    ]
    found = check(tmp_path, events)
    assert any(complaint in line for line in found) if complaint else found == []
