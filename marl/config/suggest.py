"""Settings for an environment that has no preset: one rule for all, by its spaces and by a look at random play."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from marl.config.files import toml_value
from marl.data.layout import leaves
from marl.data.spaces import Part
from marl.environments.look import RARE, Look
from marl.networks.encoders.pictures import is_large

DEFAULT = "ppo"
# Of another algorithm than that, only these are known to fit.
OF_ANY_ALGORITHM = (
    "environment.ignore",
    "environment.mask",
    "environment.normalize_observations",
    "algorithm.discount",
)
USUAL_HORIZON = 100.0  # steps, where nothing says how long episodes are
LEAST_HORIZON, MOST_HORIZON = 50.0, 400.0
MOST_MOVING = 100.0  # the same as the most where actions are measured: a movement shows soon what it is worth
HORIZONS = 4.0  # in the longest episode
PICTURES = "observations are pictures"
USUAL = "as many as usual"
UNSEEN = "random play got through no step"
SLOW = 1e-3  # seconds of a step, above which a worker has half as many environments


class Suggestion(NamedTuple):
    """One setting, and why."""

    key: str
    value: Any
    why: str


def suggest(look: Look, algorithm: str | None = None, *, timed: bool = True) -> list[Suggestion]:
    """The settings that fit, those first that others need.

    Args:
        algorithm: the user's choice; None: there is none.
        timed: whether the speed of this machine may count; runs that are to be the same everywhere say no.
    """
    found = _all(look, timed)
    if algorithm in (None, DEFAULT):
        return found
    return [each for each in found if each.key in OF_ANY_ALGORITHM]


def as_toml(settings: Mapping[str, Any], suggestions: list[Suggestion]) -> str:
    """A file of the user's own settings, by their paths, and of suggestions, each with its reason."""
    lines: dict[str, list[str]] = {}
    for path, value, why in [*((path, value, "") for path, value in settings.items()), *suggestions]:
        section, _, name = path.rpartition(".")
        lines.setdefault(section, []).append(f"{name} = {toml_value(value)}" + (f"  # {why}" if why else ""))
    first = lines.pop("", [])  # settings of no section come before all sections
    blocks = ["\n".join(first), *("\n".join([f"[{section}]", *inner]) for section, inner in lines.items())]
    return "\n\n".join(filter(None, blocks)) + "\n"


def _all(look: Look, timed: bool) -> list[Suggestion]:
    seen, acts = leaves(look.spaces.observations), leaves(look.spaces.actions)
    played = look.step_seconds > 0
    earned = f"{look.low:.3g}" if look.low == look.high else f"{look.low:.3g} to {look.high:.3g}"
    rewards = f"random play earns {earned} a step" if played else f"{UNSEEN}: nothing is known of rewards"
    rare = "hardly any step of random play earns another reward than the usual one"
    large = any(is_large(part) for part in seen)
    few = large or (timed and look.step_seconds > SLOW)
    speed = f"a step takes {1e6 * look.step_seconds:,.0f} microseconds" if timed and played else USUAL
    if not played:
        speed = f"{UNSEEN}: {USUAL}"
    measured = not any(part.categories for part in acts)
    found = [Suggestion("algorithm.name", DEFAULT, "it learns every kind of space and action")]
    if look.texts:
        found.append(Suggestion("environment.ignore", list(look.texts), "texts are nothing to learn from"))
    if look.masked:
        found.append(Suggestion("environment.mask", "info", "info says which actions are allowed"))
    if any(part.is_measured for part in seen):
        found.append(Suggestion("environment.normalize_observations", True, "observations hold measured numbers"))
    found += [
        Suggestion("environment.normalize_rewards", True, rewards),
        Suggestion("environment.per_worker", 8 if few else 16, PICTURES if large else speed),
        Suggestion("algorithm.discount", *_discount(look, measured, timed)),
        Suggestion("algorithm.t_max", 128, "long trajectories make steady updates"),
        Suggestion("algorithm.learning_rate", *_learning_rate(seen, measured)),
    ]
    # Of measured numbers, and of large pictures, nearly everything is new for ever: the bonus would drown rewards that
    # already say what is better.
    moves_well = measured and look.earning > RARE
    if not moves_well and (look.rare or not large):
        why = rare if look.rare else "new situations are worth a look; it fades"
        found.append(Suggestion("exploration.novelty", 0.1, why))
    if large:
        found += [
            Suggestion("network.shared_trunk", True, "convolutions cost most of the time: once is enough"),
            Suggestion(
                "network.precision", "auto", "bfloat16 in gradients, where the processor has instructions for it"
            ),
            Suggestion("optimizer.beta1", 0.5, "workers beside each other are a momentum of their own"),
        ]
    if large or measured:
        why = "with --minutes or --steps it falls to 0: late steps are small"
        found.append(Suggestion("algorithm.schedule", "auto", why))
    if measured:
        found += [
            Suggestion("algorithm.epochs", 6, "movements are learned in many small steps"),
            Suggestion("algorithm.num_minibatches", 8, "movements are learned in many small steps"),
        ]
        if moves_well:  # else there is nothing yet to come near to: wide movements find it
            found.append(Suggestion("network.log_std", -0.5, "movements that earn something begin with less noise"))
    else:
        found.append(Suggestion("algorithm.entropy_cost", 0.01, "actions are categories"))
    return found


def _learning_rate(seen: Sequence[Part], measured: bool) -> tuple[float, str]:
    """How fast to learn, and why; ``measured``: whether all numbers of an action are."""
    if any(is_large(part) for part in seen):
        return 2.5e-4, PICTURES
    if measured:
        return 5e-4, "actions are measured numbers"
    if all(part.categories for part in seen):
        return 2e-3, "observations are categories: weights of each are learned in its own samples alone"
    return 1e-3, "the networks are small"


def _discount(look: Look, measured: bool, timed: bool) -> tuple[float, str]:
    """By over how many steps rewards shall count, and why.

    Args:
        timed: whether the episodes that were seen count: how many these are depends on the speed of this machine.
    """
    longest, why = look.limit, "an episode has at most {:,} steps"
    if longest is None and timed and look.cut:
        longest, why = look.longest, "random play was cut after {:,} steps"
    elif longest is None and timed and look.longest > HORIZONS * USUAL_HORIZON:
        longest, why = look.longest, "random play had an episode of {:,} steps or more"
    if longest is None:  # a short episode says nothing: a policy that has learned may play on for longer
        return 1.0 - 1.0 / USUAL_HORIZON, "nothing says how long an episode may be"
    horizon = min(max(longest / HORIZONS, LEAST_HORIZON), MOST_MOVING if measured else MOST_HORIZON)
    return round(1.0 - 1.0 / horizon, 4), why.format(longest)
