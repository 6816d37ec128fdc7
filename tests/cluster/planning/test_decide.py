"""Settings that children share by, where the user has left that open."""

from typing import Any

import pytest

from marl.cluster.find_spaces import find_spaces
from marl.cluster.own_parts import try_parts
from marl.cluster.planning.costs import Costs, Line
from marl.cluster.planning.decide import Decision, choose, decide, task_of, with_exchange
from marl.cluster.planning.machines import Machine, Probed
from marl.config.files import load_config
from marl.config.settings import Config
from marl.errors import ConfigError, TrustError
from marl.wire.link import Link
from tests.cluster.planning.test_machines import PATIENCE_S, Met, child

COSTS = Costs(Line(1.2e-4, 3.8e-5), Line(4e-4, 1.1e-6), updates=16, minibatch=4.0, work_seconds=1e-3)
SLOW = COSTS._replace(step=Line(1e-4, 2e-3))


def config_of(**settings: Any) -> Config:
    return load_config("CartPole-v1", {"seed": 1, "exchange.name": "auto", **settings})


def chosen(config: Config, costs: Costs, machines: list[Machine]) -> Decision:
    spaces = find_spaces(config)
    return choose(config, task_of(config, spaces, try_parts(config, spaces), costs), costs, machines)


def test_the_batch_is_divided_and_all_else_stays() -> None:
    config = config_of(**{"algorithm.name": "ppo", "environment.per_worker": 16})
    decision = chosen(config, SLOW, [Machine(2, 2, 1.0, 5e-4, 1.25e8)] * 4)
    assert decision.config.environment.per_worker == 2
    assert decision.config.exchange.name in ("experience", "gradients")
    learner = decision.config.exchange.name == "experience"
    assert decision.config.algorithm == (config.algorithm.nearly_on_policy() if learner else config.algorithm)
    assert decision.reference is not None
    assert "4 children should be" in decision.line
    assert "\n" not in decision.line


def test_a_learner_joins_the_parts_of_a_trajectory() -> None:
    """Else it would make as many updates from each part as from the whole, with smaller minibatches."""
    config = config_of(**{"algorithm.name": "ppo", "environment.per_worker": 16})
    spaces = find_spaces(config)
    task = task_of(config, spaces, try_parts(config, spaces), SLOW)._replace(exchanges=("experience",))
    decision = choose(config, task, SLOW, [Machine(1, 1, 1.0, 5e-4, 1.25e8)] * 12)
    assert decision.config.environment.per_worker == 1
    assert decision.config.exchange.batch == 12  # 12 children play 12 environments
    assert decision.config.exchange.queue == 12  # one round can wait while another is learned from
    one = choose(config, task, SLOW, [Machine(1, 1, 1.0, 5e-4, 1.25e8)])
    assert (one.config.environment.per_worker, one.config.exchange.batch) == (16, 1)


def test_a_learner_joins_longer_parts_of_a_longer_trajectory() -> None:
    config = config_of(**{"environment.per_worker": 16, "algorithm.t_max": 64})
    costs = COSTS._replace(update=Line(1e-3, 1e-6))  # eight actors would wait for it
    decision = chosen(config, costs, [Machine(1, 1, round_trip=5e-4, bytes_per_second=1.25e8)] * 8)
    exchange = decision.config.exchange
    assert (exchange.name, decision.config.environment.per_worker, exchange.batch) == ("experience", 4, 8)


def test_the_learning_rate_grows_with_the_batch() -> None:
    """Twice as many transitions an update, by a learner, or by more workers than a trajectory has room for."""
    rates = {"algorithm.learning_rate": 1e-3, "algorithm.final_learning_rate": 1e-4}
    config = config_of(**{"environment.per_worker": 16, "algorithm.t_max": 64, **rates})
    costs = COSTS._replace(update=Line(1e-3, 1e-6))
    near = {"round_trip": 5e-4, "bytes_per_second": 1.25e8}
    decision = chosen(config, costs, [Machine(1, 1, **near)] * 8)
    larger = decision.config.algorithm
    assert decision.config.environment.per_worker * 8 == 2 * 16
    assert (larger.learning_rate, larger.final_learning_rate) == (1.4e-3, 1.4e-4)
    assert "4 environments a worker, learning rate 0.0014: " in decision.line
    same = chosen(config, costs, [Machine(1, 1, **near)] * 2)
    assert same.config.algorithm.learning_rate == 1e-3
    assert "learning rate" not in same.line
    spaces = find_spaces(config)
    task = task_of(config, spaces, try_parts(config, spaces), SLOW)._replace(rows=1, exchanges=("gradients",))
    many = choose(config, task, SLOW, [Machine(1, 1, **near)] * 8)
    assert many.config.algorithm.t_max == 32
    assert many.config.algorithm.learning_rate == 2e-3  # 8 x 32 steps: four times as many as the task has


def test_where_there_are_few_environments_their_steps_are_divided_and_joined_again() -> None:
    config = config_of(**{"algorithm.name": "ppo", "environment.per_worker": 4, "algorithm.t_max": 64})
    spaces = find_spaces(config)
    task = task_of(config, spaces, try_parts(config, spaces), SLOW)._replace(exchanges=("experience",))
    decision = choose(config, task, SLOW, [Machine(1, 1, 1.0, 5e-4, 1.25e8)] * 8)
    changed = decision.config
    assert (changed.environment.per_worker, changed.algorithm.t_max, changed.exchange.batch) == (1, 32, 8)
    assert "1 environment a worker, 32 steps each: " in decision.line


def test_a_network_that_remembers_has_trajectories_as_long_as_ever() -> None:
    config = config_of(**{"algorithm.name": "ppo", "environment.per_worker": 4, "network.core": "gru"})
    decision = chosen(config, SLOW, [Machine(1, 1, 1.0, 5e-4, 1.25e8)] * 8)
    assert decision.config.algorithm.t_max == config.algorithm.t_max


def test_a_learner_whose_replay_holds_trajectories_joins_no_parts() -> None:
    config = config_of(**{"algorithm.name": "impala", "replay.ratio": 1.0})
    spaces = find_spaces(config)
    assert task_of(config, spaces, try_parts(config, spaces), SLOW).exchanges == ("weights",)


def test_a_round_of_weights_comes_after_whole_trajectories() -> None:
    config = config_of(**{"algorithm.name": "ppo", "environment.per_worker": 16})
    spaces = find_spaces(config)
    task = task_of(config, spaces, try_parts(config, spaces), SLOW)._replace(exchanges=("weights",))
    far = [Machine(1, 1, 1.0, 0.2, 2.5e6)] * 4
    decision = choose(config, task, SLOW, far)
    steps, unit = decision.config.exchange.every.split()
    assert unit == "steps"
    assert int(steps) % (4 * config.algorithm.t_max) == 0
    assert int(steps) > 4 * config.algorithm.t_max


def test_what_the_user_has_set_stays() -> None:
    own = {"exchange.codec": "int4", "exchange.form": "delayed", "exchange.batch": 3}
    config = config_of(**{"algorithm.name": "ppo", "environment.per_worker": 16, **own})
    spaces = find_spaces(config)
    task = task_of(config, spaces, try_parts(config, spaces), SLOW)
    for exchange in ("weights", "gradients", "experience"):
        decision = choose(config, task._replace(exchanges=(exchange,)), SLOW, [Machine(1, 1, 1.0, 0.2, 2.5e6)] * 4)
        chosen = decision.config.exchange
        assert (chosen.name, chosen.codec, chosen.form, chosen.batch) == (exchange, "int4", "delayed", 3)


def test_forms_that_the_user_has_not_set_are_not_considered() -> None:
    config = config_of(**{"algorithm.name": "ppo", "exchange.form": "asynchronous"})
    decision = chosen(config, SLOW, [Machine(1, 1, 1.0, 5e-4, 1.25e8)] * 4)
    assert decision.config.exchange.name != "gradients" or "asynchronous" in decision.line


def test_machines_that_would_not_help() -> None:
    config = config_of(**{"algorithm.name": "ppo"})
    decision = chosen(config, COSTS, [Machine(1, 1, 1.0, 1.0, 1e4)])
    assert "more machines would not help" in decision.line


def test_what_a_task_is() -> None:
    config = config_of(**{"algorithm.name": "ppo", "algorithm.t_max": 32, "environment.per_worker": 16})
    spaces = find_spaces(config)
    network = try_parts(config, spaces)
    task = task_of(config, spaces, network, COSTS)
    updates = int(config.algorithm.batches_per_trajectory())
    assert (task.rows, task.length, task.updates, task.minibatch) == (16, 32, updates, 128 * 16 / updates)
    assert task.weights == sum(each.numel() for each in network.parameters())
    assert task.short_rounds == config.algorithm.sums_per_trajectory() > 0
    assert 16 < task.step_bytes < 200
    assert task.exchanges == ("weights", "gradients", "experience")


def test_minibatches_of_sequences_are_fewer_where_workers_have_few() -> None:
    """16 environments play 16 sequences: four minibatches. One plays one: one minibatch, four times in four epochs."""
    more = {"algorithm.num_minibatches": 4, "algorithm.epochs": 4, "environment.per_worker": 16}
    config = config_of(**{"algorithm.name": "ppo", "network.core": "gru", **more})
    spaces = find_spaces(config)
    made = COSTS._replace(updates=4, minibatch=1.0)  # of a trajectory that was too short
    task = task_of(config, spaces, try_parts(config, spaces), made)
    assert (task.updates, task.minibatch) == (16, config.algorithm.t_max / 4)
    assert [task.updates_of(rows) for rows in (1, 2, 4, 16)] == [4, 8, 16, 16]
    odd = config_of(**{"algorithm.name": "ppo", "network.core": "gru", **more, "environment.per_worker": 3})
    task = task_of(odd, spaces, try_parts(odd, spaces), made)
    assert (task.updates, task.short_rounds) == (12, odd.algorithm.sums_per_trajectory() + 4)


@pytest.mark.parametrize("core", [None, "gru"])
def test_only_exchanges_that_the_settings_go_with(core: str | None) -> None:
    config = config_of(**{"algorithm.name": "a3c", "network.core": core})
    spaces = find_spaces(config)
    task = task_of(config, spaces, try_parts(config, spaces), COSTS)
    for exchange in ("weights", "gradients", "experience"):
        if exchange in task.exchanges:
            assert with_exchange(config, exchange).exchange.name == exchange
    assert "weights" in task.exchanges


def test_virtual_time_counts_the_rounds_of_each() -> None:
    config = config_of(**{"algorithm.name": "ppo", "clock.virtual": True})
    spaces = find_spaces(config)
    assert task_of(config, spaces, try_parts(config, spaces), COSTS).exchanges == ("weights", "gradients", "experience")


def test_a_deterministic_run_names_its_exchange() -> None:
    with pytest.raises(ConfigError, match=r"exchange.name: expected one of weights, .* with deterministic = true"):
        config_of(deterministic=True)


def test_an_algorithm_with_a_replay_has_one_learner() -> None:
    config = config_of(**{"algorithm.name": "apex_dqn"})
    spaces = find_spaces(config)
    decision = decide(config, spaces, try_parts(config, spaces), [], 0.0, print)
    assert decision.config.exchange.name == "experience"
    assert "replay" in decision.line


def test_without_children_weights_are_shared_as_ever() -> None:
    config = config_of(**{"algorithm.name": "ppo"})
    spaces = find_spaces(config)
    decision = decide(config, spaces, try_parts(config, spaces), [], 0.0, print)
    assert decision.config.exchange.name == "weights"
    assert decision.config.environment == config.environment
    assert decision.reference is None


def test_real_children_are_measured() -> None:
    config = config_of(**{"algorithm.name": "ppo"})
    spaces = find_spaces(config)
    decision = decide(config, spaces, try_parts(config, spaces), [Probed(Met(child))], PATIENCE_S, print)
    assert "could not be measured" not in decision.line
    assert decision.config.exchange.name in ("weights", "gradients", "experience")
    assert decision.reference is not None
    assert decision.reference.steps_per_second > 0


def test_children_that_could_not_be_measured_are_said() -> None:
    """The batch is divided among the others."""

    def stranger() -> Link:
        raise TrustError("a stranger")

    config = config_of(**{"algorithm.name": "ppo"})
    spaces = find_spaces(config)
    children = [Probed(Met(child)), Probed(Met(stranger))]
    decision = decide(config, spaces, try_parts(config, spaces), children, PATIENCE_S, print)
    assert decision.line.endswith("; 1 of 2 children could not be measured and are not counted")
    assert "\n" not in decision.line


def test_in_virtual_time_each_child_has_a_machine_and_the_link_that_is_set() -> None:
    clock = {"clock.virtual": True, "clock.link_delay_ms": 50.0, "clock.link_mbit": 20.0}
    config = config_of(**{"algorithm.name": "ppo", "environment.per_worker": 16, **clock})
    spaces = find_spaces(config)
    decision = decide(config, spaces, try_parts(config, spaces), [Probed(Met(child))], PATIENCE_S, print)
    assert "links 100 ms and 20 Mbit/s" in decision.line
