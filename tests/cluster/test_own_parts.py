"""Parts of a user's own: what they are, what is wrong with them, and that a child asks before it imports any."""

import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch import nn

from examples.own_algorithm import AWR
from examples.own_network import Convolutions
from examples.own_sampler import HOTTEST, Boltzmann
from marl.acting.collect import Collector
from marl.algorithms.build import build_network, make_sampler
from marl.cluster.find_spaces import find_spaces
from marl.cluster.handshake import SECTIONS, examine, make_hello
from marl.cluster.own_parts import modules_of, try_parts
from marl.config.files import load_config
from marl.environments.vector import make_environments
from marl.errors import ConfigError, HandshakeRefused, MarlError, PluginError
from marl.networks.sampling import EpsilonGreedy, OnPolicy, Rank
from marl.wire.hello import Hello

CATCH = "examples.own_environment:Catch-v0"
NETWORK = "examples.own_network:Convolutions"
SAMPLER = "examples.own_sampler:Boltzmann"
ALGORITHM = "examples.own_algorithm:AWR"
OWN = {"network.name": NETWORK, "exploration.sampler": SAMPLER, "algorithm.name": ALGORITHM}


def tried(source: str = CATCH, **settings: Any) -> nn.Module:
    config = load_config(source, {key.replace("__", "."): value for key, value in settings.items()})
    return try_parts(config, find_spaces(config))


def hello_of(source: str, settings: dict[str, Any]) -> Hello:
    config = load_config(source, {"seed": 1, **settings})
    spaces = find_spaces(config)
    return make_hello(config, spaces, try_parts(config, spaces), run_id="run", term=1, instance="abc")


def test_parts_of_ones_own_are_found() -> None:
    config = load_config(CATCH, OWN)
    network = try_parts(config, find_spaces(config))
    assert isinstance(config.algorithm, AWR)
    assert isinstance(network, Convolutions)
    first, last = (make_sampler(config.algorithm, config.exploration, network, Rank(number, 4)) for number in (0, 3))
    assert isinstance(first, Boltzmann)
    assert isinstance(last, Boltzmann)
    parameters = torch.ones(2, 3)
    assert torch.equal(first.act(parameters, torch.zeros(2, 3))[1], parameters)
    assert torch.equal(last.act(parameters, torch.zeros(2, 3))[1], parameters / HOTTEST)


def test_a_trial_leaves_the_initial_weights_of_the_seed_as_they_were() -> None:
    config = load_config(CATCH, {"network.name": "tests.parts:Counts", "seed": 3})
    spaces = find_spaces(config)
    built = build_network(config.algorithm, spaces, config.network, 3).state_dict()
    tried_out = try_parts(config, spaces).state_dict()
    assert list(tried_out) == list(built)
    assert all(tensor.equal(built[name]) for name, tensor in tried_out.items())
    assert not all(
        tensor.equal(built[name])
        for name, tensor in tried(network__name="tests.parts:Counts", seed=4).state_dict().items()
    )


def test_without_a_name_the_algorithm_says_how_to_act() -> None:
    for name, kind in (("a3c", OnPolicy), ("apex_dqn", EpsilonGreedy)):
        config = load_config(CATCH, {"algorithm.name": name})
        sampler = make_sampler(config.algorithm, config.exploration, try_parts(config, find_spaces(config)), Rank(0, 1))
        assert type(sampler) is kind


def test_a_network_of_ones_own_follows_the_seed() -> None:
    config = load_config(CATCH, {"network.name": NETWORK})
    spaces = find_spaces(config)

    def first_number(seed: int) -> float:
        network = config.algorithm.build_network(spaces, config.network, seed)
        return float(next(network.parameters()).detach().flatten()[0])

    before = torch.get_rng_state()
    assert first_number(1) == first_number(1) != first_number(2)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_really_acted_is_what_is_kept() -> None:
    config = load_config(CATCH, {"exploration.sampler": SAMPLER})
    environments = make_environments(config.environment, 3)
    network: Any = config.algorithm.build_network(environments.spaces, config.network, 1)
    collector = Collector(
        environments,
        length=4,
        discount=1.0,
        reward_scale=1.0,
        generator=torch.Generator().manual_seed(1),
        seeds=[1, 2, 3],
        sampler=make_sampler(config.algorithm, config.exploration, network, Rank(1, 2)),
    )
    trajectory, _ = collector.collect(network, None, 0)
    with torch.no_grad():
        policy = network.policy(trajectory.observations[:-1])
    assert torch.allclose(trajectory.behaviour, policy / HOTTEST)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"network__name": "tests.parts:NoModule"}, "expected a class that derives from torch.nn.Module"),
        (
            {"network__name": "tests.parts:Bare"},
            "makes them of policy and values.*, it lacks initial_state",
        ),
        (
            {"network__name": "tests.parts:NoDistribution"},
            "NoDistribution: expected it to have a distribution",
        ),
        ({"network__name": "tests.parts:Forgetful"}, "expected layers that do the same .*, got Dropout: use LayerNorm"),
        (
            {"network__name": "tests.parts:WrongPolicy"},
            r"expected step to make \[2, 3\] .*, got \[2, 4\]: the last dimension has to be .*num_parameters, 3",
        ),
        (
            {"network__name": "tests.parts:WrongValues"},
            r"the values of unroll to make \[3, 2\] .*, got \[3, 2, 1\]",
        ),
        (
            {"network__name": "tests.parts:WrongBoth"},
            r"the values of unroll to make \[3, 2\] .*, got \[2, 2\]",
        ),
        ({"network__name": "tests.parts:InOrder"}, r"expected the values of unroll to make \[2\] .*, it failed"),
        (
            {"network__name": "tests.parts:WrongState"},
            r"WrongState: expected step .* the one that it gets, float32 \[2, 2\], got float32 \[2, 1\]: keep names",
        ),
        (
            {"network__encoder": "tests.parts:WrongSize"},
            r"network.encoder: tests.parts:WrongSize: expected forward to make \[2, 36\] of observations "
            r"\[2, 35\], got \[2, 35\]: the last dimension has to be its size, 36, the others",
        ),
        ({"network__name": "tests.parts:Raises"}, r"Raises\(spaces, settings, seed\) failed: ZeroDivisionError"),
        ({"network__name": "tests.parts:RaisesLater"}, "expected step to make .*, it failed: RuntimeError"),
        ({"network__name": "tests.parts:Missing"}, "has no 'Missing'"),
        ({"network__name": "resnet"}, "network.name: expected your own package.module:Class, got 'resnet'"),
        (
            {"network__name": "tests.parts:Bare", "algorithm__name": "apex_dqn"},
            "policy\\(observations\\), .* lacks policy",
        ),
        ({"network__name": "tests.parts:Buffered", "algorithm__name": "apex_dqn"}, "has buffers or tied parameters"),
        ({"exploration__sampler": "tests.parts:NoModule"}, "the methods noise and act"),
        ({"exploration__sampler": "tests.parts:make_nothing"}, "the methods noise and act"),
        ({"exploration__sampler": "tests.parts:Refuses"}, r"Refuses\(distribution, rank\) failed: KeyError"),
        ({"exploration__sampler": "tests.parts:WrongActions"}, r"actions of shape \[3\], got \[3, 3\]"),
        (
            {"exploration__sampler": "tests.parts:FarActions"},
            "expected sound actions, got actions outside their 3 categories",
        ),
        ({"exploration__sampler": "tests.parts:WrongBehaviour"}, r"parameters that acted of shape \[3, 3\], got \[3\]"),
        ({"exploration__sampler": "tests.parts:WrongNoise"}, r"noise of shape \[2, 3\], got \[3, 2\]"),
        ({"exploration__sampler": "tests.parts:FailsToAct"}, "cannot act: ValueError: not today"),
        ({"exploration__sampler": "boltzmann"}, "exploration.sampler: expected your own package.module:Class"),
        ({"algorithm__name": "tests.parts:NoModule"}, "expected a frozen dataclass that derives from"),
        ({"algorithm__name": "tests.parts:make_nothing"}, "expected a frozen dataclass that derives from"),
        ({"algorithm__name": "tests.parts:Empty"}, "tests.parts:Empty lacks build_network and loss"),
        ({"algorithm__name": "tests.parts:NoTransitions"}, "lacks transitions"),
        (
            {"algorithm__name": "tests.parts:NoStep"},
            "NoStep: expected a network with .* lacks initial_state",
        ),
        ({"algorithm__name": "tests.parts:Dreams"}, "expected learns_from to be trajectories or transitions"),
        ({"algorithm__name": "tests.parts:NoNetwork"}, "expected build_network to make a torch module, got None"),
        ({"algorithm__name": "nowhere:Mine"}, "no module named 'nowhere'"),
    ],
)
def test_what_cannot_work_is_one_line(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(MarlError, match=words) as refused:
        tried(**settings)
    assert isinstance(refused.value, ConfigError | PluginError)
    assert "\n" not in str(refused.value)


def test_sac_keeps_its_network() -> None:
    with pytest.raises(ConfigError, match="sac takes an encoder of your own, and no other part"):
        tried("Pendulum-v1", algorithm__name="sac", network__name=NETWORK)


def test_a_q_network_of_ones_own_has_a_copy_that_follows() -> None:
    network: Any = tried(algorithm__name="apex_dqn", network__name="tests.parts:Values")
    seen = torch.rand(4, 35)
    assert torch.equal(network.policy(seen), network.target(seen))
    with torch.no_grad():
        network.online.layer.weight.add_(1.0)
    assert not torch.equal(network.policy(seen), network.target(seen))


def test_a_policy_of_ones_own_is_also_a_q_network() -> None:
    """What ``policy`` makes counts as the values of actions."""
    network: Any = tried(algorithm__name="apex_dqn", network__name=NETWORK)
    seen = torch.rand(4, 35)
    assert torch.equal(network.policy(seen), network.target(seen))


def test_an_on_policy_algorithm_of_ones_own_takes_no_other_sampler() -> None:
    """Nor a subclass of one that would learn by other means: A3C's way with old data is IMPALA's loss."""
    for name in ("tests.parts:OnPolicyOnly", "tests.parts:Subclass"):
        with pytest.raises(ConfigError, match=f"{name} learns only from what its newest weights play"):
            load_config(CATCH, {"algorithm.name": name, "exploration.sampler": SAMPLER})
        with pytest.raises(ConfigError, match=f"{name} learns only from what its newest weights play"):
            load_config(CATCH, {"algorithm.name": name, "exchange.name": "experience"})


@pytest.mark.parametrize(
    ("section", "key", "kind"),
    [("algorithm", "name", "algorithm"), ("environment", "id", "environment"), ("network", "name", "network"),
     ("network", "core", "core"),
     ("network", "encoder", "encoder"),
     ("exploration", "sampler", "sampler")],
)  # fmt: skip
def test_a_child_asks_before_it_imports(
    section: str, key: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sly.py").write_text("open('it ran', 'w').close()\n")
    hello = hello_of("CartPole-v1", {})
    changed = msgspec.structs.replace(hello, **{section: {**getattr(hello, section), key: "sly:Part"}})
    with pytest.raises(HandshakeRefused, match=f"may import no {kind} from sly, .* --allow sly"):
        examine(changed, allow=("examples", "tests"), workers=1)
    assert "sly" not in sys.modules
    assert not (tmp_path / "it ran").exists()


def test_every_section_that_names_code_is_in_the_hello() -> None:
    assert {"environment", "network", "exploration", "algorithm"} <= set(SECTIONS)


def test_a_child_builds_what_it_is_told() -> None:
    hello = hello_of(CATCH, OWN)
    offered = examine(hello, allow=("examples",), workers=1)
    assert offered.welcome.fingerprint == hello.fingerprint
    assert offered.config.exploration.sampler == SAMPLER
    assert isinstance(offered.config.algorithm, AWR)


@pytest.mark.parametrize(("key", "name"), OWN.items())
def test_other_sources_are_another_fingerprint(
    key: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same class in a file of other words: parent and child must not run different code under one name."""
    module, _, attribute = name.partition(":")
    source = Path(sys.modules[module].__file__ or "").read_text()
    (tmp_path / "copied_part.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    prints = []
    for more in ("", "# changed\n"):
        (tmp_path / "copied_part.py").write_text(source + more)
        monkeypatch.delitem(sys.modules, "copied_part", raising=False)
        sys.modules.pop("copied_part", None)
        prints.append(hello_of(CATCH, {key: f"copied_part:{attribute}"}).fingerprint)
    assert prints[0] != prints[1]


def test_where_a_part_is_really_defined_counts_too() -> None:
    assert modules_of("tests.parts:Boltzmann") == {"tests.parts"}  # of another package: its version's business
    assert modules_of("tests.parts:Lazy") == {"tests.parts", "tests.fake_algorithms"}
    assert modules_of(CATCH) == {"examples.own_environment"}


def test_a_child_refuses_what_cannot_work() -> None:
    hello = hello_of(CATCH, {})
    changed = msgspec.structs.replace(hello, network={**hello.network, "name": "tests.parts:WrongValues"})
    with pytest.raises(HandshakeRefused, match=r"the child cannot take part: .* expected the values of unroll to make"):
        examine(changed, allow=("examples", "tests"), workers=1)
