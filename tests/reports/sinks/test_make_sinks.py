import pytest

from marl.errors import ConfigError, PluginError
from marl.reports.sinks.make_sinks import SINKS, demand_names, make_sinks


class Own:
    def begin(self, facts: object) -> None: ...

    def on(self, event: object) -> None: ...

    def close(self) -> None: ...


class Half:
    def begin(self, facts: object) -> None: ...


class Greedy:
    def __init__(self, token: str) -> None: ...


OWN = f"{__name__}:Own"


def test_those_that_tell_the_user_end_last() -> None:
    demand_names(["events", OWN, "terminal", "metrics", "tensorboard"])
    made = make_sinks(["events", OWN, "terminal", "metrics", "tensorboard"])
    assert list(made) == [OWN, "tensorboard", "metrics", "terminal", "events"]
    assert isinstance(made[OWN], Own)


def test_each_has_three_methods() -> None:
    for sink in make_sinks(list(SINKS)).values():
        assert all(callable(getattr(sink, method)) for method in ("begin", "on", "close"))


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (
            ["event"],
            "expected some of tensorboard, metrics, terminal, events, or your own package.module:Class",
        ),
        (["events", "events"], "expected each once, got 'events' twice"),
    ],
)
def test_a_name_that_cannot_be(names: list[str], complaint: str) -> None:
    with pytest.raises(ConfigError) as error:
        demand_names(names)
    assert str(error.value).startswith(f"report.sinks: {complaint}")


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("Half", "lacks on: see marl.reports.sinks.sink.Sink"),
        ("Greedy", "cannot be made without arguments: TypeError"),
        ("Missing", "has no 'Missing'"),
    ],
)
def test_what_is_no_sink_is_refused(name: str, complaint: str) -> None:
    with pytest.raises(PluginError, match=complaint):
        make_sinks([f"{__name__}:{name}"])
