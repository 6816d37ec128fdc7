"""What a run says about its end, its evaluation and its reports."""

from dataclasses import dataclass


@dataclass(frozen=True)
class StopSettings:
    """When training ends; whichever comes first."""

    solved: bool = True  # once environment.solved_return is reached, in training and by the saved policy
    steps: int | None = None  # environment steps
    minutes: float | None = None  # of training
    episodes: int | None = None


@dataclass(frozen=True)
class EvaluationSettings:
    """How a candidate for the best weights is evaluated."""

    episodes: int = 20  # of each evaluation while training, from the same seeds; 0: there is none, training decides
    every_seconds: float = 20.0  # between two evaluations while training; after long ones, four times what they took
    final_episodes: int = 100  # played at the end from fresh seeds, to say what the weights that are kept earn; 0: none
    greedy: bool = True  # the most likely action rather than a drawn one


@dataclass(frozen=True)
class ReportSettings:
    """What is written down and shown."""

    runs: str = "runs"  # folder of the run folders
    every_seconds: float = 1.0  # between two lines of metrics
    sinks: tuple[str, ...] = ("events", "metrics", "ray", "tensorboard", "terminal")  # or your own by path
    tensorboard: bool = True  # false: the sink of that name writes nothing
    pictures: bool = True  # the learning curve, at the end
