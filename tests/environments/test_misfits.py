"""What no other try can mend, an environment that does not keep to its spaces, and what may pass."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.vector import AsyncVectorEnv

from marl.environments.serial import SerialVector
from marl.environments.vector import Environments
from marl.errors import EnvironmentFault, SpaceFault
from tests.fakes import CountingEnv, Faulty, counting_vector, faulty_vector

MODES = ["NextStep", "SameStep", "Disabled"]
SHOWN: list[tuple[Any, str]] = [
    (np.zeros(2, np.float32), r"expected observations of Box\(.*\), got \[2\] of float32: mend"),
    (np.zeros((1, 3), np.float32), r"got \[1, 3\] of float32"),
    (np.float32(0), r"got \[\] of float32"),
    (np.array(["a", "b", "c"]), r"got \[3\] of <U1"),
    (np.array([None] * 3), r"got \[3\] of object"),
    (np.zeros(3, complex), r"got \[3\] of complex128"),
    ([0, [1], 2], "got list"),
    ({"a": np.zeros(3, np.float32)}, r"got \{'a': '\[3\] of float32'\}"),
]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("shown", "says"), SHOWN)
def test_what_does_not_fit_the_space_is_told_from_what_may_pass(
    mode: str, shown: Any, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a step and in a reset: no other try can end otherwise."""
    for vector in (counting_vector(2, mode), SerialVector(CountingEnv, 2)):
        environments = Environments(vector, "mine")
        environments.reset([0, 1])
        with monkeypatch.context() as patched:
            patched.setattr(vector.envs[1], "_observation", lambda: shown)
            with pytest.raises(SpaceFault, match=says) as caught:
                environments.step(np.zeros(2, np.int64))
            assert "\n" not in str(caught.value)
            with pytest.raises(SpaceFault, match=says):
                environments.reset([0, 1])


def test_what_an_environment_raises_may_pass() -> None:
    for fault in ("raise", "nan"):
        environments = Environments(faulty_vector(2, "NextStep", fault=fault, at=1), "mine")
        environments.reset([0, 1])
        with pytest.raises(EnvironmentFault) as caught:
            environments.demand_numbers("observation", environments.step(np.zeros(2, np.int64)).observations)
        assert type(caught.value) is EnvironmentFault


@pytest.mark.parametrize(
    ("observations", "rewards", "says"),
    [
        (np.array([["a"] * 3] * 2), np.zeros(2), "observation .*'a'.* is no number"),
        (np.zeros((2, 3)), np.array([None, None]), "reward None is no number"),
        (np.zeros((2, 3)), np.zeros((2, 1)), r"rewards of shape \(2, 1\) for 2"),
        (np.zeros((2, 4)), np.zeros(2), r"expected observations of shape \(2, 3\)"),
    ],
)
def test_a_vector_that_answers_in_another_form(observations: Any, rewards: Any, says: str) -> None:
    vector = counting_vector(2, "NextStep", length=100)
    ends = np.zeros(2, bool)
    vector.step = lambda unused_actions: (observations, rewards, ends, ends, {})  # type: ignore[method-assign]
    environments = Environments(vector, "mine")
    with pytest.raises(SpaceFault, match=says):
        environments.demand_shape(environments.step(np.zeros(2, np.int64)).observations)


def answering(**changes: Any) -> Environments:
    """Two environments whose vector says this of its rewards and ends."""
    vector = counting_vector(2, "NextStep", length=100)
    answer = {"rewards": np.zeros(2), "terminated": np.zeros(2, bool), "truncated": np.zeros(2, bool), **changes}
    vector.step = lambda unused_actions: (np.zeros((2, 3)), *answer.values(), {})  # type: ignore[method-assign]
    return Environments(vector, "mine")


@pytest.mark.parametrize("end", ["terminated", "truncated"])
@pytest.mark.parametrize(
    "ends",
    [
        [True, False],
        (np.True_, np.False_),
        [1, 0],
        np.array([1, 0], np.uint8),
        np.array([True, False], object),
        torch.tensor([True, False]),
        [torch.tensor(True), torch.tensor(False)],
    ],
)
def test_ends_in_an_equivalent_form(end: str, ends: Any) -> None:
    environments = answering(**{end: ends})
    step = environments.step(np.zeros(2, np.int64))
    assert getattr(step, end).dtype == np.bool_
    assert getattr(step, end).tolist() == [True, False]
    assert environments.step(np.zeros(2, np.int64)).valid.tolist() == [False, True]


@pytest.mark.parametrize("end", ["terminated", "truncated"])
@pytest.mark.parametrize(
    ("ends", "says"),
    [
        (None, "None for 2"),
        (False, "False for 2"),
        ([True], r"of shape \(1,\) for 2"),
        (np.zeros((2, 1), bool), r"of shape \(2, 1\) for 2"),
        ([[True], [True, False]], r"that are no array but a list \("),
        (np.array([0.0, 1.0]), "0.0 is neither True nor False"),
        (torch.tensor([0.0, 1.0], requires_grad=True), r"that are no array but a Tensor \("),
        ([0, 2], "2 is neither True nor False"),
        ([None, True], "None is neither True nor False"),
        (["no", "yes"], "'no' is neither True nor False"),
        ({"a": True}, r"\{'a': True\} for 2"),
    ],
)
def test_ends_in_another_form(end: str, ends: Any, says: str) -> None:
    environments = answering(**{end: ends})
    with pytest.raises(SpaceFault, match=f"^mine cannot be learned from: {end} {says}.*: mend") as caught:
        environments.step(np.zeros(2, np.int64))
    assert "\n" not in str(caught.value)


def test_rewards_that_are_no_array() -> None:
    environments = answering(rewards=[[1.0], [1.0, 2.0]])
    with pytest.raises(
        SpaceFault, match=r"^mine cannot be learned from: rewards that are no array but a list \(.*: mend"
    ):
        environments.step(np.zeros(2, np.int64))


@pytest.mark.parametrize("fault", ["shape", "raise"])
def test_a_vector_that_has_processes(fault: str) -> None:
    """They say only what numpy said of the observation that they could not hand over."""
    environments = Environments(AsyncVectorEnv([lambda: Faulty(fault, at=2)] * 2), "mine")
    try:
        environments.reset([0, 1])
        environments.step(np.zeros(2, np.int64))
        with pytest.raises(EnvironmentFault) as caught:
            environments.step(np.zeros(2, np.int64))
    finally:
        environments.close()
    if fault == "raise":
        assert type(caught.value) is EnvironmentFault
        assert "RuntimeError in step: the motor broke" in str(caught.value)
    else:
        assert isinstance(caught.value, SpaceFault)
        assert "expected observations of Box" in str(caught.value)
        assert ", got shape [2]: mend" in str(caught.value)


class InnerShape(CountingEnv):
    """An error of its own, about no observation."""

    def step(self, action: Any) -> Any:
        np.zeros(7)[:] = np.zeros(5)


def test_an_error_about_other_arrays_may_pass_also_from_a_process() -> None:
    environments = Environments(AsyncVectorEnv([InnerShape]), "mine")
    try:
        environments.reset([0])
        with pytest.raises(EnvironmentFault, match="could not broadcast") as caught:
            environments.step(np.zeros(1, np.int64))
    finally:
        environments.close()
    assert type(caught.value) is EnvironmentFault
