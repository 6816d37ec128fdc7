"""What a run says about the exchange between parent and children."""

from dataclasses import dataclass

EXCHANGES = ("weights", "pairwise", "experience", "observations")
LEARNER_EXCHANGES = ("experience", "observations")  # children only play


@dataclass(frozen=True)
class ExchangeSettings:
    """How parent and children share one policy; without children most of it is not used."""

    name: str = (
        ""  # "weights": averaged in rounds; "pairwise": mixed as they come; "experience", "observations": a learner
    )
    every: str = "5 seconds"  # when a child uploads: "5 seconds", "20000 steps" or "1 episode" (of each worker)
    barrier: bool = False  # workers wait while weights travel: the textbook form; otherwise they train on
    codec: str = "float32"  # or "bfloat16", "float16", "int8", "int4": rounded, with error feedback; "auto": as needed
    outer_lr: float = 1.0  # how far the global weights go towards the mean; 1 with momentum 0 is plain averaging
    outer_momentum: float = 0.0  # of the global weights' steps (Nesterov); DiLoCo: outer_lr = .7, outer_momentum = .9
    alpha: float = 0.5  # pairwise: how far an upload moves the parent's weights
    beta: float = 0.5  # pairwise: how far an answer moves the child's
    aggregate: str = "mean"  # or "median", "trimmed", "krum", "multikrum", "clip", "capped": against poisoned uploads
    clip: float = 10.0  # changes longer than so many times the usual are shortened; inf: never
    queue: int = 16  # experience: trajectories that may wait, at least one a child; more is steadier, and staler
    batch: int = 1  # experience: trajectories that the learner learns from at once
    max_staleness: int = 32  # experience: older trajectories are dropped; in versions, one for each batch learned from
    zstd: bool = (
        False  # experience: trajectories are packed (extra: zstd): fewer bytes, above all of pictures; more work
    )
    inference_batch: int = 256  # observations: so many environments are decided for without waiting for more
    inference_wait_us: float = 300.0  # observations: microseconds that the first of them waits for others
