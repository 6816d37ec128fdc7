"""What a run says about its network, and about how workers act on what it says."""

from dataclasses import dataclass


@dataclass(frozen=True)
class NetworkSettings:
    """Which network, its size and shape."""

    name: str = ""  # your own package.module:Class; empty: the algorithm's own
    encoder: str | None = None  # "mlp", "nature", "dqn", "impala" or your own package.module:Class; none: what fits
    core: str | None = None  # what remembers earlier steps: "gru", "lstm" or your own package.module:Class
    core_size: int = 64  # features that a built-in core makes, and remembers (32 to 512)
    head: str | None = None  # what makes outputs of features: your own package.module:Class; none: "linear"
    hidden: tuple[int, ...] = (64, 64)  # width of each hidden layer
    activation: str = "tanh"  # or "relu", "elu"
    layer_norm: bool = False  # normalise what a hidden layer has computed, before the activation
    precision: str = "float32"  # of convolutions while they learn: "bfloat16", or "auto": what is fast here
    # One body under policy and value: fewer numbers, but the two losses compete. With a core both see what the policy's
    # encoder and core make, with False too; then the value's loss does not train these.
    shared_trunk: bool = False
    policy: str | None = None  # of continuous actions: "state_gaussian", "squashed" or "beta"; none: "gaussian"
    log_std: float = 0.0  # where the deviation of continuous actions starts (natural logarithm)

    @property
    def remembers(self) -> bool:
        """Whether there is a core between encoder and head."""
        return self.core not in (None, "none")

    @property
    def own(self) -> dict[str, str]:
        """The settings that name a user's own code."""
        named = {
            "network.name": self.name,
            "network.encoder": self.encoder,
            "network.core": self.core,
            "network.head": self.head,
        }
        return {key: name for key, name in named.items() if name and ":" in name}


@dataclass(frozen=True)
class ExplorationSettings:
    """How workers draw their actions while they learn; evaluation knows nothing of it."""

    sampler: str = ""  # your own package.module:Class; empty: the algorithm's own
    novelty: float = 0.0  # bonus of a step to something new; of one to what came n times, 1/sqrt(n) of it (0 to 1)
