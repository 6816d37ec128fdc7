"""Gradients that travel rounded: all have the same bits, nothing is lost for good, and bad payloads are refused."""

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from marl.algorithms.ppo import PPO
from marl.data.trajectory import Trajectory
from marl.errors import MessageRefused
from marl.exchanges.gradients.coding import CodecChoice, Coding, PartCoding
from marl.exchanges.gradients.memory import GRADIENT
from marl.wire.codec import CODECS
from marl.wire.compression import build_codec
from marl.wire.header import Header
from marl.wire.message import Array, Kind, Message, tensor_of
from marl.wire.payload import hand_over
from tests.algorithms.cases import DISCRETE, random_batch
from tests.exchanges.shards import Fleet, Parent

T, B = 5, 2
SMALL = PPO(t_max=T, epochs=2, num_minibatches=2)
ROUNDS = 5  # of each trajectory
SIZE = 2000  # more than one block of each codec
ROUNDING = CODECS[1:]


def some(fleet: Fleet, seed: int) -> list[Trajectory]:
    """Trajectories for one worker."""
    with torch.no_grad():
        batches = [random_batch(DISCRETE, 10 * seed + each, T, B) for each in range(4)]
        policy = fleet.network().policy
        return [each._replace(behaviour=policy(each.observations[:-1])) for each in batches]  # type: ignore[operator]


@pytest.mark.parametrize("codec", ROUNDING)
def test_all_have_the_same_bits(codec: str, fleets: list[Fleet]) -> None:
    """Parent and children, with a child that joins while there are rounding errors."""
    fleets.append(fleet := Fleet(DISCRETE, SMALL, [1, 2], B, codec=codec))
    first, second = fleet.nodes
    first.connect()
    fleet.wait(first.learn(0, some(fleet, 0), ROUNDS))
    second.connect()
    learning = [second.learn(worker, some(fleet, 1 + worker), 3 * ROUNDS) for worker in range(2)]
    fleet.wait(first.learn(0, some(fleet, 0), 3 * ROUNDS), *learning)
    fleet.demand_the_same_bits()
    assert not fleet.notes
    assert not [note for node in fleet.nodes for note in node.notes]
    last = fleet.parent._last
    assert last is not None
    assert tensor_of(last.message, "encoded").numel() == build_codec(codec).num_bytes(fleet.parent._parameters)
    exact = fleet.parent.versions[ROUNDS]
    fleets.append(plain := Fleet(DISCRETE, SMALL, [1, 2], B))
    plain.nodes[0].connect()
    plain.wait(plain.nodes[0].learn(0, some(plain, 0), ROUNDS))
    moved = (plain.weights() - plain.parent.versions[0]).abs().max()
    assert 0 < float((exact - plain.weights()).abs().max()) < float(moved), "rounded, and near what is not"


def receive(parent: Coding, child: str, arrays: dict[str, Array]) -> Tensor:
    """A child's gradient as its parent decodes it."""
    message = Message(Kind.UPLOAD, child, arrays=arrays)

    def buffers(header: Header) -> dict[str, memoryview]:
        known = parent.receive_tensors(child)
        return {entry.name: known[entry.name].view(torch.uint8).numpy().data for entry in header.manifest}

    return tensor_of(parent.decoded(child, hand_over(message, buffers)), "gradient").clone()


def gradients(seed: int) -> Iterator[Tensor]:
    """Each nearly the same, with large numbers beside small ones: a codec rounds them in the same direction."""
    generator = torch.Generator().manual_seed(seed)
    scale = torch.logspace(-4, 0, SIZE) * (1 + torch.rand(SIZE, generator=generator))
    while True:
        yield scale * (1 + 1e-4 * torch.randn(SIZE, generator=generator))


@pytest.mark.parametrize("codec", ROUNDING)
def test_what_is_applied_adds_up_to_the_true_gradients(codec: str) -> None:
    """100 rounds of 3 children, against sums in float64. Every number is short by one rounding each way at most."""
    parent = Coding(codec, parameters=SIZE, sums=1, rounds=1, note=print)
    children = {f"child{each}": (PartCoding(SIZE), gradients(each)) for each in range(3)}
    for coding, _ in children.values():
        coding.answered({"codec": codec})
    true, applied, careless = (torch.zeros(SIZE, dtype=torch.float64) for _ in range(3))
    coder, decoded = build_codec(codec), torch.empty(SIZE)
    payload, largest = torch.empty(coder.num_bytes(SIZE), dtype=torch.uint8), 0.0
    for _ in range(100):
        total = torch.zeros(SIZE)
        for name, (coding, source) in children.items():
            gradient = next(source)
            largest = max(largest, float(gradient.abs().max()))
            true += gradient.double() / 3
            coder.encode(gradient, None, payload)
            coder.decode(payload, decoded)
            careless += decoded.double() / 3
            total += receive(parent, name, coding.upload(gradient))
            coding.answered({"taken": True, "codec": codec})
        _, mean = parent.encoded(total / 3)
        applied += mean.double()
    step = {"bfloat16": 2**-8, "float16": 2**-11, "int8": 1 / 127, "int4": 1 / 7}[codec] * largest
    assert float((applied - true).abs().max()) < 1.5 * step
    assert float((careless - true).abs().max()) > 2 * step, "without feedback it drifts away"


def coded(codec: str = "int8") -> PartCoding:
    coding = PartCoding(4)
    coding.answered({"codec": codec})
    return coding


UNEVEN = torch.tensor([1.0, 0.004, 0.0, 0.0])


def error_of(coding: PartCoding) -> list[float]:
    """The rounding error that the next part would include: what an upload of nothing sends."""
    payload = coding.upload(torch.zeros(4))["encoded"]
    assert isinstance(payload, Tensor)
    build_codec("int8").decode(payload, found := torch.zeros(4))
    coding.answered({})  # that part was late
    return found.tolist()


def test_the_error_of_a_part_that_was_taken_is_kept_and_that_of_a_late_one_is_not() -> None:
    coding = coded()
    coding.upload(UNEVEN)
    coding.answered({"taken": True, "codec": "int8"})
    kept = error_of(coding)
    assert kept[1] == pytest.approx(0.004 - 1 / 127, rel=0.01)
    coding.upload(torch.tensor([0.0, 0.0, 1.0, 0.3]))
    coding.answered({"codec": "int8"})
    assert error_of(coding) == kept


def test_the_error_is_forgotten_where_a_part_is_refused() -> None:
    coding = coded()
    for said in ({"taken": True}, {"refused": "expected finite numbers"}):
        coding.upload(UNEVEN)
        coding.answered(said)
    assert error_of(coding) == [0.0] * 4


def test_what_cannot_be_encoded_travels_as_it_is() -> None:
    """The parent says what is wrong, in the line that it has for that. The error stays."""
    coding = coded()
    coding.upload(UNEVEN)
    coding.answered({"taken": True})
    kept = error_of(coding)
    bad = torch.tensor([math.nan, 1.0, 1.0, 1.0])
    assert coding.upload(bad)["gradient"] is bad
    coding.answered({"taken": True})
    assert error_of(coding) == kept


@pytest.fixture
def parent(fleets: list[Fleet]) -> Parent:
    """With one child, which nobody plays."""
    fleets.append(fleet := Fleet(DISCRETE, SMALL, [1], B, codec="int8"))
    fleet.parent.join("child0")
    return fleet.parent


def send(parent: Parent, name: str, array: Tensor) -> Message | None:
    """An upload of the child's; the answer."""
    info = {"kind": GRADIENT, "count": 1.0, "rate": 1e-4, "steps": 5}
    message = Message(
        Kind.UPLOAD, "child0", parent.term, parent.current.version, 1, {name: array}, info  # type: ignore[arg-type]
    )  # fmt: skip
    try:
        came = hand_over(message, lambda header: parent.receive_buffers("child0", header))
    except MessageRefused as error:
        answer = parent.rejected("child0", str(error))
    else:
        answer = parent.answer("child0", came)
    return None if answer is None else answer.message


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("encoded", 1, "expected ArrayEntry(name='encoded', dtype='uint8'"),
        ("encoded", -1, "expected ArrayEntry(name='encoded', dtype='uint8'"),
        ("coded", 0, "expected no such array, got ArrayEntry(name='coded'"),
    ],
)
def test_a_payload_of_the_wrong_size_is_refused(
    name: str, change: int, words: str, parent: Parent, fleets: list[Fleet]
) -> None:
    size = build_codec("int8").num_bytes(parent._parameters) + change
    answer = send(parent, name, torch.zeros(size, dtype=torch.uint8))
    assert answer is not None
    assert "weights" in answer.arrays
    (line,) = fleets[0].notes
    assert words in line
    assert parent.current.version == 0


def test_a_payload_that_no_encoder_writes_is_refused(parent: Parent, fleets: list[Fleet]) -> None:
    payload = torch.full((build_codec("int8").num_bytes(parent._parameters),), 255, dtype=torch.uint8)
    answer = send(parent, "encoded", payload)
    assert answer is not None
    assert "int8: expected scales between" in str(answer.info["refused"])
    (line,) = fleets[0].notes
    assert line.startswith("a part of child0 is refused: int8: expected scales between")
    assert parent.current.version == 0


def test_a_mean_that_cannot_be_encoded_moves_nothing(parent: Parent, fleets: list[Fleet]) -> None:
    before = parent.current.weights
    answer = send(parent, "gradient", torch.full((parent._parameters,), 3e38))
    assert answer is not None
    assert (answer.version, answer.info["taken"], dict(answer.arrays)) == (1, True, {})
    assert torch.equal(parent.current.weights, before)
    (line,) = fleets[0].notes
    assert line.startswith("the mean of gradients of version 1 moves nothing: int8: ")


def test_the_error_of_the_parent_is_saved(parent: Parent, fleets: list[Fleet]) -> None:
    send(parent, "gradient", torch.linspace(0, 1, parent._parameters))
    saved = parent.saved()
    assert saved.error is not None
    assert float(saved.error.abs().max()) > 0
    again = fleets[0].make_parent()
    again.restore({**saved.optimizer, "error": saved.error}, saved.merged, saved.limits)
    error = again.saved().error
    assert error is not None
    assert torch.equal(error, saved.error)


@pytest.mark.parametrize(
    ("transfer", "period", "codec"),
    [
        (0.004, 0.1, "float32"),
        (0.008, 0.1, "bfloat16"),  # 8 ms both ways, beside 84
        (0.015, 0.1, "int8"),  # 7.5 ms beside 70
        (0.02, 0.1, "int4"),  # 5.3 ms beside 60
        (0.05, 0.1, "int4"),  # nothing beside the transfers: no codec is short enough
    ],
)
def test_auto_chooses_by_the_slowest_child(transfer: float, period: float, codec: str) -> None:
    choice = CodecChoice(1_000_000, rounds=20)
    for number in range(21):
        for seconds in (0.001, transfer, 0.002):
            choice.arrived(seconds)
        assert choice.end_round(5.0 + period * number) == (None if number < 20 else codec)
    assert f"the slowest child needed {transfer:.2g} s for 4,000,000 bytes, a round {period:.2g} s" in choice.why


def test_auto_changes_the_codec_while_children_learn(fleets: list[Fleet], monkeypatch: pytest.MonkeyPatch) -> None:
    """The first rounds travel in float32 and seem to be slow."""
    fleets.append(fleet := Fleet(DISCRETE, SMALL, [1, 1], B, codec="auto"))
    arrived = fleet.parent._coding.arrived
    monkeypatch.setattr(fleet.parent._coding, "arrived", lambda seconds: arrived(seconds + 1.0))
    for node in fleet.nodes:
        node.connect()
    fleet.wait(*[node.learn(0, some(fleet, rank), 6 * ROUNDS) for rank, node in enumerate(fleet.nodes)])
    assert fleet.parent._coding.name == "int4"
    (line,) = fleet.notes
    assert line.startswith("gradients travel as int4: the slowest child needed 1 s")
    assert not [note for node in fleet.nodes for note in node.notes]
    fleet.demand_the_same_bits()
