"""A user's own network that remembers, as learning the values of actions from sequences asks for it."""

from typing import cast

from torch import Tensor, nn

from marl.data.layout import Values
from marl.networks.contract import Acts, State
from marl.networks.cores import unrolled, warmed


class Stepped(nn.Module):
    """Values of actions, one step after the other: the ``parameters`` of a network's ``step``."""

    def __init__(self, own: nn.Module) -> None:
        super().__init__()
        self.own = own

    def initial_state(self, rows: int) -> State:
        """See ``Acts``."""
        return cast(Acts, self.own).initial_state(rows)

    def step(self, observations: Values, state: State) -> tuple[Tensor, State]:
        """Values [B, A] of observations [B, D], and what is remembered next."""
        decision = cast(Acts, self.own).step(observations, state)
        return decision.parameters, decision.state

    def unroll(self, observations: Values, state: State, resets: Tensor) -> Tensor:
        """Values [S, B, A] of observations [S, B, D]."""
        return unrolled(self, observations, state, resets)

    def warm(self, observations: Values, state: State, resets: Tensor) -> State:
        """What is remembered after observations [S, B, D]; ``resets`` [S + 1, B], the last for what follows."""
        return warmed(self, observations, state, resets)
