import sys
import types
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv, VectorWrapper

from marl.environments.make import make_single, make_vector
from marl.environments.settings import EnvironmentSettings
from marl.environments.vector import make_environments
from marl.errors import EnvironmentFault, MissingExtra, PluginError
from tests.fakes import CountingEnv, counting_vector


def test_a_gymnasium_id() -> None:
    assert make_single(EnvironmentSettings(id="Acrobot-v1")).unwrapped.spec.id == "Acrobot-v1"
    vector = make_vector(EnvironmentSettings(id="Acrobot-v1"), 3)
    assert isinstance(vector, SyncVectorEnv)  # it registers no vector of its own
    assert vector.num_envs == 3


def test_a_module_and_an_id() -> None:
    """The module registers, the id is looked up; its time limit and its keyword arguments count."""
    environment = make_single(EnvironmentSettings(id="tests.fakes:FakeCounting-v3"))
    assert environment.unwrapped.episode_length() == 7
    vector = make_vector(EnvironmentSettings(id="tests.fakes:FakeLimited-v0", kwargs={"length": 50}), 2)
    vector.reset(seed=[0, 1])
    ends = [vector.step(np.zeros(2, int))[2:4] for _ in range(2)]
    assert [end.tolist() for end in ends[-1]] == [[False, False], [True, True]]  # cut after two steps


@pytest.mark.parametrize("name", ["tests.fakes:counting", "tests.fakes:CountingEnv"])
def test_a_module_and_a_factory(name: str) -> None:
    settings = EnvironmentSettings(id=name, kwargs={"length": 5})
    assert isinstance(make_single(settings), CountingEnv)
    vector = make_vector(settings, 2)
    assert [env.unwrapped.episode_length() for env in vector.envs] == [5, 5]


def test_a_factory_that_makes_its_own_vector() -> None:
    settings = EnvironmentSettings(id="tests.fakes:counting_vector", kwargs={"mode": "SameStep"})
    assert make_vector(settings, 4).num_envs == 4


def test_how_many_a_vector_has_is_not_the_settings_to_say() -> None:
    settings = EnvironmentSettings(id="tests.fakes:counting_vector", kwargs={"mode": "SameStep", "num_envs": 4})
    for make in (make_single, lambda settings: make_vector(settings, 2)):
        with pytest.raises(EnvironmentFault, match=r"does not accept \{.*'num_envs': 4\}: .* multiple values"):
            make(settings)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("CartPoll-v1", "did you mean CartPole-v1"),
        ("Pendulm-v1", "did you mean Pendulum-v1"),
        ("tests.fakes:FakeCountin-v0", "did you mean FakeCounting-v"),
        ("CartPole-v7", "no environment named 'CartPole-v7': use CartPole-v1, the newest version$"),
        ("CartPole", "use CartPole-v1, the newest version"),
        ("LunarLander-v2", "'LunarLander-v2': use LunarLander-v3, the newest version"),
        ("Blackjack-v0", "use Blackjack-v1, the newest version"),
        ("MiniGrid-Empty-5x5", "use MiniGrid-Empty-5x5-v0, the newest version"),
        ("HalfCheetah-v2", "does not have HalfCheetah-v2 any more: use HalfCheetah-v5"),
        ("Halfcheetah-v4", "did you mean HalfCheetah-v5"),
        ("nowhere/CartPole-v1", "did you mean CartPole-v1"),
        ("nowhere/Quux-v1", "Namespace nowhere not found"),
        ("nothing at all", r"package\.module:factory"),
    ],
)
def test_an_unknown_id_suggests_the_nearest(name: str, words: str) -> None:
    for make in (make_single, lambda settings: make_vector(settings, 2)):
        with pytest.raises(EnvironmentFault, match=words) as caught:
            make(EnvironmentSettings(id=name))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("tests.nowhere:factory", PluginError, "no module named 'tests.nowhere'"),
        ("tests.fakes:nothing", PluginError, "has no 'nothing'"),
        ("tests.fakes:NOT_CALLABLE", EnvironmentFault, "to be a class or function"),
        ("tests.fakes:refuses_to_start", EnvironmentFault, "does not start: OSError: no licence found"),
        ("tests.fakes:NotEnv", EnvironmentFault, "NotEnv to make a gymnasium environment, got NotEnv: derive"),
        ("subprocess:list2cmdline", EnvironmentFault, "to make a gymnasium environment, got str: derive"),
    ],
)
def test_what_cannot_be_made(name: str, error: type[Exception], words: str) -> None:
    kwargs = {"seq": []} if name.startswith("subprocess") else {}
    for make in (make_single, lambda settings: make_vector(settings, 2)):
        with pytest.raises(error, match=words):
            make(EnvironmentSettings(id=name, kwargs=kwargs))


@pytest.mark.parametrize("name", ["CartPole-v1", "Acrobot-v1", "tests.fakes:counting", "tests.fakes:FakeCounting-v0"])
def test_arguments_that_an_environment_does_not_take(name: str) -> None:
    with pytest.raises(EnvironmentFault, match=r"does not accept \{'wheels': 3\}"):
        make_vector(EnvironmentSettings(id=name, kwargs={"wheels": 3}), 2)


class Undescribed(CountingEnv):
    """Its metadata is no dictionary."""

    metadata = None  # type: ignore[assignment]


def needs_wheels(wheels: int) -> CountingEnv:
    """An argument without a default value."""
    return CountingEnv(length=wheels)


def wheels_of_words(wheels: str = "three") -> CountingEnv:
    """Takes its argument, and stumbles over it."""
    return CountingEnv(length=wheels + 1)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("name", "kwargs", "words"),
    [
        ("Undescribed", {}, "Undescribed does not start: TypeError: "),
        ("wheels_of_words", {}, "wheels_of_words does not start: TypeError: "),
        ("wheels_of_words", {"wheels": "four"}, "wheels_of_words does not start: TypeError: "),
        ("needs_wheels", {}, r"needs_wheels does not accept no arguments: .*missing 1 required positional argument"),
        ("wheels_of_words", {"seats": 2}, r"wheels_of_words does not accept \{'seats': 2\}: "),
    ],
)
def test_only_arguments_that_do_not_fit_are_called_so(name: str, kwargs: dict[str, Any], words: str) -> None:
    with pytest.raises(EnvironmentFault, match=words):
        make_vector(EnvironmentSettings(id=f"tests.environments.test_make:{name}", kwargs=kwargs), 2)


def test_an_unknown_backend() -> None:
    with pytest.raises(EnvironmentFault, match="expected 'gymnasium' or 'envpool', got 'gpu'"):
        make_vector(EnvironmentSettings(backend="gpu"), 2)


# envpool


class FakePool(VectorWrapper):
    """A pool as envpool makes it: a gymnasium vector that heeds no seed at a reset. Checks how it is made."""

    def __init__(self, name: str, num_envs: int, num_threads: int, seed: int, **kwargs: Any) -> None:
        assert (name, num_threads) == ("Fake-v1", 1)
        super().__init__(counting_vector(num_envs, "NextStep", **kwargs))
        self.seed, self.closed = seed, False

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        assert seed is None
        return self.env.reset(seed=self.seed, options=options)

    def close(self, **kwargs: Any) -> None:
        assert not self.closed
        self.closed = True


@pytest.fixture
def pools(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every pool that a fake envpool made."""
    made: list[Any] = []

    def make_gymnasium(name: str, **kwargs: Any) -> Any:
        made.append(FakePool(name, **kwargs))
        return made[-1]

    module = types.ModuleType("envpool")
    module.make_gymnasium = make_gymnasium  # type: ignore[attr-defined]
    module.list_all_envs = lambda: ["Fake-v1"]  # type: ignore[attr-defined]
    module.__version__ = "1.2.0"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "envpool", module)
    return made


def test_envpool_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "envpool", None)
    with pytest.raises(MissingExtra, match=r"needs envpool: run pip install 'marl-cluster\[envpool\]'"):
        make_vector(EnvironmentSettings(backend="envpool"), 2)


@pytest.mark.usefixtures("pools")
def test_envpool_does_not_offer_it() -> None:
    with pytest.raises(EnvironmentFault, match="envpool does not offer CartPole-v1"):
        make_vector(EnvironmentSettings(backend="envpool"), 2)


@pytest.mark.usefixtures("pools")
def test_envpool_takes_other_arguments() -> None:
    with pytest.raises(EnvironmentFault, match=r"does not accept \{'seed': 3\}"):
        make_vector(EnvironmentSettings(id="Fake-v1", backend="envpool", kwargs={"seed": 3}), 2)


def test_an_envpool_whose_pools_are_no_vectors(pools: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["envpool"], "make_gymnasium", lambda *unused, **also_unused: object())
    with pytest.raises(EnvironmentFault, match=r"envpool 1\.2\.5 or newer, .* got 1\.2\.0: run pip install"):
        make_vector(EnvironmentSettings(id="Fake-v1", backend="envpool"), 2)
    assert not pools


def test_envpool_behind_our_face(pools: list[Any]) -> None:
    settings = EnvironmentSettings(id="Fake-v1", backend="envpool", kwargs={"length": 2, "ends": "truncated"})
    environments = make_environments(settings, 3)
    first = environments.reset([11, 12, 13]).copy()
    assert pools[-1].seed == 11
    assert [pool.closed for pool in pools] == [True, False]
    steps = [environments.step(np.zeros(3, np.int64)) for _ in range(4)]
    assert [step.valid.all() for step in steps] == [True, True, False, True]
    assert [step.truncated.all() for step in steps] == [False, True, False, False]
    assert not any(len(step.last_index) for step in steps)
    assert (environments.reset([11, 12, 13]) == first).all()
    environments.close()
    assert all(pool.closed for pool in pools)


def test_the_real_envpool() -> None:
    """Where it is installed: the same seed gives the same episodes, and the step after an end is a reset."""
    pytest.importorskip("envpool")
    environments = make_environments(EnvironmentSettings(backend="envpool"), 3)
    assert environments.spaces == make_environments(EnvironmentSettings(), 3).spaces
    first, second = environments.reset([5, 6, 7]).copy(), environments.reset().copy()
    assert not (first == second).any()
    assert (environments.reset([5, 6, 7]) == first).all()
    steps = [environments.step(np.ones(3, np.int64)) for _ in range(20)]
    ended = np.array([step.terminated | step.truncated for step in steps])
    assert ended.any(axis=0).all()
    np.testing.assert_array_equal([step.valid for step in steps][1:], ~ended[:-1])
    environments.close()


def test_a_time_limit_of_the_real_envpool_is_no_end_of_the_task() -> None:
    """Where it is installed: the observation of the 200th step is the last of its episode."""
    pytest.importorskip("envpool")
    environments = make_environments(EnvironmentSettings("Pendulum-v1", backend="envpool"), 1)
    environments.reset([0])
    steps = [environments.step(np.zeros((1, 1), np.float32)) for _ in range(201)]
    assert [bool(each.truncated[0]) for each in steps].index(True) == 199
    assert not any(each.terminated[0] for each in steps)
    angles = [float(np.arctan2(each.observations[0, 1], each.observations[0, 0])) for each in steps[198:]]
    speeds = [float(each.observations[0, 2]) for each in steps[198:]]
    turned = (angles[1] - angles[0] + np.pi) % (2 * np.pi) - np.pi
    assert turned == pytest.approx(speeds[1] * 0.05, abs=1e-3)  # the same pendulum, one step later
    assert (bool(steps[200].valid[0]), float(steps[200].rewards[0])) == (False, 0.0)
    environments.close()


def test_gymnasium_knows_our_fakes() -> None:
    assert {"FakeCounting-v0", "FakeCounting-v3", "FakeLimited-v0"} <= set(gymnasium.registry)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ALE/Pong-v5", "ALE/Pong-v5 needs ale-py: run .*atari"),
        ("PongNoFrameskip-v4", "needs ale-py: run .*atari"),
        ("MiniGrid-Empty-5x5-v0", "MiniGrid-Empty-5x5-v0 needs minigrid: run .*minigrid"),
        ("VizdoomBasic-v1", "VizdoomBasic-v1 needs ViZDoom: run .*vizdoom"),
        ("retro/Airstriker-Genesis-v0", "retro/Airstriker-Genesis-v0 needs stable-retro: run .*retro"),
        ("SumoCrossing-v0", "SumoCrossing-v0 needs SUMO: run .*sumo"),
        ("Ant-v5", "Ant-v5 needs MuJoCo: run .*mujoco"),
    ],
)
def test_what_is_not_installed_names_its_extra(name: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("ale_py", "minigrid", "mujoco", "vizdoom", "vizdoom.gymnasium_wrapper", "stable_retro", "libsumo"):
        monkeypatch.setitem(sys.modules, package, None)  # also where they are installed
    with pytest.raises(MissingExtra, match=words):
        make_single(EnvironmentSettings(id=name))


def test_an_environment_that_ends_the_program() -> None:
    with pytest.raises(EnvironmentFault, match="does not start: SystemExit: 0"):
        make_single(EnvironmentSettings(id="tests.environments.test_make:ends_the_program"))


def ends_the_program() -> None:
    sys.exit(0)
