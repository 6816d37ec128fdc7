"""A core, an encoder or a network of one's own that does not fit is refused before any process starts."""

from typing import Any

import pytest

from marl.cluster.find_spaces import find_spaces
from marl.cluster.own_parts import try_parts
from marl.config.files import load_config
from marl.errors import ConfigError, PluginError
from tests.extending import memory
from tests.extending.memory import MEMORY, RECALL, SEEN, VALUED

HERE = memory.__name__


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"network.core": MEMORY, "algorithm.name": "sac"},
         f"network.core = '{MEMORY}' remembers earlier steps, and sac learns from each step alone"),
        ({"network.core": MEMORY, "algorithm.name": "tests.fake_algorithms:Lazy"}, "Lazy learns from each step alone"),
        ({"network.core": "lstm", "algorithm.name": "sac"},
         r"network.core = 'lstm' .* alone: leave it out, or use a3c, ppo or impala \(or apex_dqn, where an action"),
        ({"algorithm.name": "apex_dqn", "algorithm.burn_in": 8},
         "algorithm.burn_in = 8 is for a network that remembers, .* add network.core=gru or lstm, or set it to 0"),
        ({"algorithm.name": "ppo", "algorithm.sequence": 8},
         "algorithm.sequence = 8 is for a network that remembers, and this one remembers nothing: add network"),
        ({"algorithm.name": "ppo", "algorithm.sequence": 8, "network.core": "none", "network.encoder": "mlp"},
         "algorithm.sequence = 8 is for a network that remembers"),
        ({"algorithm.name": "apex_dqn", "algorithm.burn_in": 17, "network.core": "gru"},
         r"algorithm.burn_in: expected 0 to t_max \(16\), got 17"),
        ({"network.core": "rnn"},
         "network.core: expected 'none', 'gru', 'lstm', or your own package.module:Class, got 'rnn'"),
        ({"network.core": "gru", "network.core_size": 0}, "network.core_size: expected 1 to 65,536, got 0"),
        ({"network.encoder": "cnn"}, "network.encoder: expected 'auto', 'mlp', .* got 'cnn'"),
        ({"network.core": MEMORY, "network.name": "tests.parts:Values"}, "network.core: network.name = .* leave one"),
    ],
)  # fmt: skip
def test_what_does_not_go_with_it_is_refused_at_once(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_config(RECALL, settings)


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"network.core": f"{HERE}:WrongSize"}, PluginError, "WrongSize: expected step to make .* it failed"),
        ({"network.core": f"{HERE}:NoSize"}, PluginError, "NoSize to have a size, the number of its features"),
        ({"network.core": f"{HERE}:OneState"}, PluginError, r"expected initial_state\(2\) to make tensors \[2, "),
        ({"network.core": f"{HERE}:Recall"}, PluginError, "network.core: expected a class that derives from"),
        (
            {"network.name": f"{HERE}:Whole", "algorithm.name": f"{HERE}:Forgets"},
            ConfigError,
            "Whole remembers earlier steps, and .*Forgets learns from each step alone: leave it out, or use a3c",
        ),
        (
            {"network.encoder": f"{HERE}:WrongEncoder"},
            PluginError,
            r"WrongEncoder: expected forward to make \[2, 1\] .*, got \[2, 2\]: the last dimension has to be its size",
        ),
        ({"network.encoder": SEEN, "network.core": MEMORY}, None, ""),
        ({"network.name": f"{HERE}:Whole"}, None, ""),
        ({"network.encoder": SEEN, "algorithm.name": "apex_dqn"}, None, ""),
        ({"network.name": VALUED, "algorithm.name": "apex_dqn", "algorithm.burn_in": 4}, None, ""),
        (
            {"network.name": f"{HERE}:Frozen", "algorithm.name": "apex_dqn"},
            PluginError,
            "network.name: .*:Frozen: expected step to keep the gradient, which learning needs, got parameters without",
        ),
        (
            {"network.name": "tests.parts:Values", "algorithm.name": "apex_dqn", "algorithm.burn_in": 4},
            ConfigError,
            "algorithm.burn_in = 4 is for a network that remembers, and .*:Values remembers nothing: set it to 0",
        ),
        (
            {"network.name": "tests.parts:CountsRows", "algorithm.name": "ppo", "algorithm.sequence": 4},
            ConfigError,
            "algorithm.sequence = 4 is for a network that remembers, and .*:CountsRows remembers nothing: set it to 0",
        ),
        ({"network.name": f"{HERE}:Whole", "algorithm.name": "ppo", "algorithm.sequence": 4}, None, ""),
    ],
)
def test_what_cannot_work_is_found_before_any_process(
    settings: dict[str, Any], error: type[Exception] | None, words: str
) -> None:
    config = load_config(RECALL, settings)
    if error is None:
        try_parts(config, find_spaces(config))
        return
    with pytest.raises(error, match=words):
        try_parts(config, find_spaces(config))
