"""A process that keeps what is free does not grow for ever; the question it is asked stays the same."""

import pytest

from marl.processes import heap


def test_the_answer_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    trimmed: list[int] = []
    monkeypatch.setattr(heap, "EVERY", 0.0)
    monkeypatch.setattr(heap, "_trim", lambda: trimmed.append)
    answers = iter([True, True, False])
    ask = heap.tidily(lambda: next(answers))
    assert [ask(), ask(), ask()] == [True, True, False]
    assert trimmed == [0, 0, 0]


def test_without_such_a_library_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap, "_trim", lambda: None)
    go_on = [True].pop
    assert heap.tidily(go_on) is go_on


def test_where_it_is_it_works() -> None:
    trim = heap._trim()
    if trim is not None:
        assert trim(0) in (0, 1)
    assert heap._trim() is trim
