"""How gradients travel: in the codec of the run, with error feedback both ways.

Up, a child encodes the sum of its gradients plus its rounding error. Down, the parent encodes the mean plus its own.
The parent moves its weights by what children decode, so all have the same bits. Sums of a few numbers are never
rounded.
"""

import statistics
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from marl.errors import WeightsRefused
from marl.exchanges.gradients.parts import all_finite
from marl.exchanges.weights.rounding import Rounding
from marl.wire.codec import CODECS
from marl.wire.compression import build_codec
from marl.wire.message import Array, Message, Value, tensor_of

TRANSFER_SHARE = 0.1  # of a round, that its two transfers may take
LEAST_ROUNDS = 16  # that are timed


class Coding:
    """The parent's side: what children's parts arrive in, and what the mean is sent as. Not locked."""

    def __init__(self, codec: str, *, parameters: int, sums: int, rounds: int, note: Callable[[str], None]) -> None:
        """
        Args:
            codec: of the settings; "auto" sends float32 at first.
            sums: numbers that are added up at most.
            rounds: of one trajectory.
        """
        self._rounding, self._note = Rounding(parameters), note
        self._parameters, self._sums = parameters, sums
        self._choice = CodecChoice(parameters, rounds) if codec == "auto" else None
        self._rounding.use(codec)
        self._arriving: dict[str, dict[str, Tensor]] = {}  # by child

    @property
    def name(self) -> str:
        """The codec of the next messages."""
        return self._rounding.name

    def receive_tensors(self, child: str) -> dict[str, Tensor]:
        """What the arrays of a child's part may arrive in; also a gradient that its codec cannot encode."""
        known = self._arriving.get(child)
        if known is None:
            sums = torch.zeros(self._sums, dtype=torch.float64)
            known = self._arriving[child] = {"gradient": torch.zeros(self._parameters), "sums": sums}
        if self._rounding.codec is not None and "encoded" not in known:
            known["encoded"] = torch.empty_like(self._rounding.up)
        return dict(known)

    def decoded(self, child: str, upload: Message) -> Message:
        """The same upload, with its gradient in float32.

        Raises:
            WeightsRefused: it has numbers that no encoder writes.
        """
        if "encoded" not in upload.arrays or self._rounding.codec is None:
            return upload
        gradient = self._arriving[child]["gradient"]
        self._rounding.codec.decode(tensor_of(upload, "encoded"), gradient)
        others = {name: array for name, array in upload.arrays.items() if name != "encoded"}
        return upload._replace(arrays={**others, "gradient": gradient})

    def encoded(self, mean: Tensor) -> tuple[dict[str, Array], Tensor]:
        """What is sent of a mean, and what all decode from it.

        Raises:
            WeightsRefused: the mean is not finite, or too large for the codec.
        """
        codec = self._rounding.codec
        if codec is None:
            if not all_finite(mean):
                raise WeightsRefused("expected a mean of finite numbers")
            return {"gradient": mean}, mean
        payload = self._rounding.encode(mean).clone()  # the next round must not change what is still being sent
        self._rounding.merged()
        codec.decode(payload, decoded := torch.empty_like(mean))
        return {"encoded": payload}, decoded

    def arrived(self, seconds: float) -> None:
        """A part has arrived; its transfer took ``seconds``."""
        if self._choice is not None:
            self._choice.arrived(seconds)

    def end_round(self, now: float) -> None:
        """A round of gradients is over. With codec "auto", one of the first rounds chooses the codec."""
        if self._choice is None or not (name := self._choice.end_round(now)):
            return
        self._note(f"gradients travel as {name}: {self._choice.why}")
        self._choice = None
        self._rounding.use(name)

    def error(self) -> Tensor | None:
        """The parent's rounding error; None: nothing is rounded."""
        return self._rounding.error()

    def restore(self, error: Tensor) -> None:
        """Go on with the error of a checkpoint."""
        self._rounding.restore(error)


class PartCoding:
    """A child's side.

    Its rounding error is what the parent has not got yet of the parts that it has taken. So it changes only with a part
    that was taken. A part that came too late leaves it as it was: nothing of that part was used, neither its gradient
    nor the error in it. It is forgotten where the parent refused a part (the error may be what is wrong with it), and
    where nobody knows whether the last part was taken: at the begin of a conversation, and after an answer that could
    not be used. What is lost then is at most the rounding of one minibatch.
    """

    def __init__(self, parameters: int) -> None:
        self._rounding, self._mean = Rounding(parameters), torch.zeros(parameters)
        self._is_rounded = False  # the part that is under way

    def upload(self, gradient: Tensor) -> dict[str, Array]:
        """What is sent of the sum of gradients. As it is, where it cannot be encoded: the parent says what is wrong."""
        self._is_rounded = False
        if self._rounding.codec is None:
            return {"gradient": gradient}
        try:
            payload = self._rounding.encode(gradient)
        except WeightsRefused:
            return {"gradient": gradient}
        self._is_rounded = True
        return {"encoded": payload}

    def answered(self, info: Mapping[str, Value]) -> None:
        """The parent has said what became of the part, and which codec comes next; its mean is decoded before that."""
        if info.get("refused"):
            self.forget()
        elif info.get("taken") and self._is_rounded:
            self._rounding.merged()
        self._is_rounded = False
        self._rounding.use(info.get("codec"))

    def forget(self) -> None:
        """Drop the rounding error."""
        self._rounding.forget()
        self._is_rounded = False

    def receive_tensors(self) -> dict[str, Tensor]:
        """What a mean may arrive in."""
        encoded = {} if self._rounding.codec is None else {"encoded": self._rounding.down}
        return {"gradient": self._mean, **encoded}

    def decoded(self, answer: Message) -> Tensor:
        """The mean in an answer.

        Raises:
            WeightsRefused: it has numbers that no encoder writes.
        """
        if "encoded" in answer.arrays and self._rounding.codec is not None:
            self._rounding.codec.decode(tensor_of(answer, "encoded"), self._mean)
        return self._mean


class CodecChoice:
    """Codec "auto": the first rounds travel in float32 and are timed. Then it is the first of ``CODECS`` whose
    transfers take a small share of a round, else the last one.
    """

    def __init__(self, size: int, rounds: int) -> None:
        """
        Args:
            size: numbers of a gradient.
            rounds: of one trajectory: at least as many are timed, because a trajectory is played between two of them.
        """
        self.why = ""
        self._size, self._rounds = size, max(rounds, LEAST_ROUNDS)
        self._began: float | None = None
        self._slowest, self._transfers = 0.0, list[float]()

    def arrived(self, seconds: float) -> None:
        """The part of one child has arrived; its transfer took ``seconds``."""
        self._slowest = max(self._slowest, seconds)

    def end_round(self, now: float) -> str | None:
        """A round of gradients is over. Returns the codec once it is known."""
        slowest, self._slowest = self._slowest, 0.0
        if self._began is None:  # the time before it is not that of a round
            self._began = now
            return None
        self._transfers.append(slowest)
        if len(self._transfers) < self._rounds:
            return None
        return self._choose(statistics.median(self._transfers), (now - self._began) / self._rounds)

    def _choose(self, transfer: float, period: float) -> str:
        full = 4 * self._size
        self.why = f"the slowest child needed {transfer:.2g} s for {full:,} bytes, a round {period:.2g} s"
        beside = max(0.0, period - 2 * transfer)
        for name in CODECS:
            both = 2 * transfer * build_codec(name).num_bytes(self._size) / full
            if both <= TRANSFER_SHARE * (beside + both):
                return name
        return CODECS[-1]
