"""The experience exchange: nonsense is refused, alone, and told."""

import pytest
import torch

from marl.data.node.send_queue import RING_LENGTH
from marl.errors import MessageRefused
from marl.exchanges.experience.settings import PER_MESSAGE
from marl.exchanges.member import QUARANTINE_AFTER, SHORT_QUARANTINE
from marl.wire.message import Kind, Message
from tests.data.rollouts import layout_of
from tests.exchanges.actors import Actors, Learning, exchange, pair, steps_of
from tests.exchanges.nodes import Clock, carried


def test_one_that_cannot_be_unpacked_spoils_only_itself(clock: Clock) -> None:
    learning, child = pair(clock, unpacks=True)
    child.play(count=3)
    (upload,) = child.uploads()
    spoiled = torch.as_tensor(upload.arrays["packed1"]).clone()
    spoiled[4:].fill_(0)
    learning.receive(upload._replace(arrays={**upload.arrays, "packed1": spoiled}))
    assert [learning.learn()[0] for _ in range(2)] == [0, 2]
    assert learning.side.refused == 1
    assert "packed bytes" in str(learning.notes)


@pytest.mark.parametrize("length", [0, layout_of().num_bytes])
def test_packed_bytes_have_a_length_between_none_and_the_whole(length: int, clock: Clock) -> None:
    learning, child = pair(clock, unpacks=True)
    child.play()
    (upload,) = child.uploads()
    with pytest.raises(MessageRefused, match=r"trajectory0|packed0"):
        learning.receive(upload._replace(arrays={"packed0": torch.zeros(length, dtype=torch.uint8)}))


def test_who_did_not_agree_to_it_takes_nothing_packed(clock: Clock) -> None:
    learning = Learning(clock)
    child = Actors("a", clock, packs=True)
    learning.join(child)
    child.play()
    (upload,) = child.uploads()
    with pytest.raises(MessageRefused, match=r"trajectory0|packed0"):
        learning.receive(upload)


def test_more_than_the_credit_is_refused_and_takes_no_place(clock: Clock) -> None:
    learning, child = pair(clock, queue=2)
    child.play(count=3)
    (upload,) = child.uploads()
    assert len(upload.arrays) == 2
    third = upload._replace(arrays={**upload.arrays, "trajectory2": upload.arrays["trajectory0"]})
    with pytest.raises(MessageRefused, match="at most 2"):
        learning.receive(third)
    answer = learning.side.rejected("a", "expected at most 2 trajectories, got 3")
    assert answer is not None
    assert "at most 2" in str(answer.message.info["refused"])
    assert learning.trajectory_queue.num_free() == 2
    assert learning.side.members["a"].credit == 2


@pytest.mark.parametrize("name", ["trajectory0", "trajectory1", "observations"])
def test_a_trajectory_of_another_shape_is_refused_and_frees_its_places(clock: Clock, name: str) -> None:
    learning, child = pair(clock)
    child.play(count=2)
    (upload,) = child.uploads()
    wrong = upload._replace(arrays={**upload.arrays, name: torch.zeros(17, dtype=torch.uint8)})
    with pytest.raises(MessageRefused, match="expected"):
        learning.receive(wrong)
    child.take(learning.side.rejected("a", "expected another"))
    assert learning.trajectory_queue.num_free() == 8
    assert child.notes == ["trajectories were refused: expected another"]
    child.play()
    exchange(learning, child)
    assert learning.waiting() == 1


def test_a_bad_trajectory_is_refused_alone_and_its_child_is_told(clock: Clock) -> None:
    learning, child = pair(clock)
    child.play(count=3)
    (upload,) = child.uploads()
    layout_of().open(upload.arrays["trajectory1"])["rewards"][0, 0] = float("nan")  # type: ignore[arg-type]
    child.heard(learning.receive(upload))
    assert [learning.learn(), learning.learn()] == [[0], [2]]
    assert learning.waiting() == 0
    assert (learning.queued(), learning.side.refused) == (2, 1)
    assert learning.side.steps == steps_of(0) + steps_of(2)
    assert learning.notes == ["an upload of a is refused: a trajectory has a number that is not finite"]
    assert child.notes == ["trajectories were refused: a trajectory has a number that is not finite"]


def spoil(upload: Message) -> Message:
    for each in upload.arrays.values():
        layout_of().open(each)["header"][0] = -1  # type: ignore[arg-type]
    return upload


def test_a_child_that_is_refused_again_and_again_is_quarantined_for_a_while(clock: Clock) -> None:
    """However much it sends; and what it does wrong is said, but not each time."""
    learning, child = pair(clock)
    for _ in range(QUARANTINE_AFTER):
        child.play()
        for upload in child.uploads():
            child.heard(learning.receive(spoil(upload)))
    assert "quarantined for 10 seconds" in learning.notes[-1]
    for _ in range(3 * SHORT_QUARANTINE):
        child.play()
        exchange(learning, child)
    assert learning.queued() == 0
    assert "quarantined" in child.notes[-1]
    clock.now += SHORT_QUARANTINE
    child.play()
    exchange(learning, child)
    assert learning.queued() == 1
    assert len(learning.notes) == QUARANTINE_AFTER
    assert learning.trajectory_queue.num_free() == 7


def test_refusals_count_only_in_a_row(clock: Clock) -> None:
    learning, child = pair(clock)
    for _ in range(2 * QUARANTINE_AFTER):
        child.play()
        for upload in child.uploads():
            child.heard(learning.receive(spoil(upload)))
        child.play()
        exchange(learning, child)
        learning.learn()
    learning.rest()
    assert learning.queued() == 2 * QUARANTINE_AFTER
    assert not any("quarantined" in note for note in learning.notes)


@pytest.mark.parametrize("bad", ["moments", "trajectory1"])
def test_what_is_good_beside_it_excuses_no_refusal(bad: str, clock: Clock) -> None:
    """A child is quarantined for false statistics, or for one false trajectory of several, upload after upload."""
    learning, child = pair(clock, normalizes=True)
    for _ in range(QUARANTINE_AFTER):
        child.play(count=2)
        for upload in child.uploads():
            arrays = dict(upload.arrays)
            if bad == "moments":
                arrays[bad] = torch.full_like(torch.as_tensor(arrays[bad]), float("nan"))
            else:
                layout_of().open(arrays[bad])["header"][0] = -1  # type: ignore[arg-type]
            child.heard(learning.receive(upload._replace(arrays=arrays)))
        learning.learn()
    assert "quarantined for 10 seconds" in learning.notes[-1]


def test_an_upload_that_came_twice_counts_once(clock: Clock) -> None:
    learning, child = pair(clock)
    child.play(count=2)
    (upload,) = child.uploads()
    child.heard(learning.receive(upload))
    child.heard(learning.receive(upload))
    assert learning.queued() == 2
    assert learning.side.refused == 2
    assert [learning.learn(), learning.learn()] == [[0], [1]]
    assert learning.waiting() == 0
    assert any("came before" in note for note in learning.notes)
    learning.rest()
    assert learning.trajectory_queue.num_free() == 8


@pytest.mark.parametrize("bad", [[1e300, 1e200, 0.0], [float("nan"), 0.0, 0.0], [-5.0, 0.0, 0.0], [5.0, 0.0, -1.0]])
def test_no_child_can_spoil_the_normaliser(clock: Clock, bad: list[float]) -> None:
    learning, child = pair(clock, normalizes=True)
    child.play()
    (upload,) = child.uploads()
    moved = torch.tensor([bad[0], bad[1], 0.0, bad[2], 0.0], dtype=torch.float64)
    child.heard(learning.receive(upload._replace(arrays={**upload.arrays, "moments": moved})))
    statistics = learning.side.current.statistics
    assert statistics is not None
    assert not statistics.any()
    assert learning.queued() == 1  # the trajectory itself is sound
    assert any("refused" in note for note in child.notes)


def test_a_full_send_queue_of_many_workers_is_no_absurd_claim(clock: Clock) -> None:
    learning, child = pair(clock, normalizes=True)
    learning.side.assign_rank("a", 0, workers=50)
    assert learning.side._seen is not None
    steps = learning.side._seen._steps
    child.see([[1.0, 2.0]] * (50 * (RING_LENGTH + 1) * steps))
    child.play()
    exchange(learning, child)
    statistics = learning.side.current.statistics
    assert statistics is not None
    assert statistics[0] == 50 * (RING_LENGTH + 1) * steps
    child.see([[1.0, 2.0]] * 10**6)
    child.play()
    exchange(learning, child)
    assert learning.side.current.statistics[0] == (50 * (RING_LENGTH + 2) + 2) * steps


def test_a_damaged_report_is_answered_by_nothing(clock: Clock) -> None:
    learning, child = pair(clock)
    clock.now += 1
    (telemetry,) = child.side.outgoing()
    carried(telemetry, lambda header: learning.side.receive_buffers("a", header))
    assert learning.side.rejected("a", "the hash differs") is None


def test_what_is_no_upload_is_noted_and_no_more(clock: Clock) -> None:
    learning, child = pair(clock)
    assert learning.side.answer("a", Message(Kind.FLUSH, "a")) is None
    child.side.accept(Message(Kind.FLUSH, "parent"))
    assert "not expected here" in learning.notes[0]
    assert "not expected here" in child.notes[0]


def test_a_message_is_bounded(clock: Clock) -> None:
    learning = Learning(clock, queue=100)
    child = Actors("a", clock, workers=8)
    learning.join(child)
    for worker in range(8):
        child.play(worker, RING_LENGTH)
    uploads = child.uploads()
    assert [len(each.arrays) for each in uploads] == [PER_MESSAGE] * 2  # as much as there is credit for
    more = {f"trajectory{number}": uploads[0].arrays["trajectory0"] for number in range(PER_MESSAGE + 1)}
    with pytest.raises(MessageRefused, match=f"at most {PER_MESSAGE} trajectories"):
        learning.receive(uploads[0]._replace(arrays=more))
