"""Train one RLlib algorithm with the settings of its own tuned examples until solved; print one JSON line.

Run by the Python of ``.venv-peers-rllib``. RLlib looks at returns once an iteration, so that is where its clock stops.
It is given the cores that there are: one for the algorithm, the others for environment runners.
"""

import os
import time
from typing import Any

import gymnasium
import numpy as np
import torch

from peer import arguments, process_started, tell

os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_DISABLE_IMPORT_WARNING", "1")

from ray.rllib.algorithms.dqn import DQNConfig
from ray.rllib.algorithms.impala import IMPALAConfig
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.algorithms.sac import SACConfig
from ray.rllib.connectors.env_to_module import MeanStdFilter
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig

TUNED: dict[tuple[str, str], dict[str, Any]] = {
    ("ppo", "CartPole-v1"): {
        "config": PPOConfig,
        "training": {"lr": 0.0003, "num_epochs": 6, "vf_loss_coeff": 0.01},
        "model": {"fcnet_hiddens": [32], "fcnet_activation": "linear", "vf_share_layers": True},
    },
    ("impala", "CartPole-v1"): {
        "config": IMPALAConfig,
        "filter": True,
        "training": {
            "train_batch_size_per_learner": 500,
            "grad_clip": 40.0,
            "grad_clip_by": "global_norm",
            "lr": 0.0005,
            "vf_loss_coeff": 0.05,
            "entropy_coeff": 0.0,
        },
        "model": {"vf_share_layers": True},
    },
    ("dqn", "CartPole-v1"): {
        "config": DQNConfig,
        "training": {
            "lr": 0.0005,
            "train_batch_size_per_learner": 32,
            "replay_buffer_config": {
                "type": "PrioritizedEpisodeReplayBuffer",
                "capacity": 50_000,
                "alpha": 0.6,
                "beta": 0.4,
            },
            "n_step": (2, 5),
            "double_q": True,
            "dueling": True,
            "epsilon": [(0, 1.0), (10_000, 0.02)],
        },
        "model": {"fcnet_hiddens": [256], "fcnet_activation": "tanh"},
    },
    ("sac", "Pendulum-v1"): {
        "config": SACConfig,
        "training": {
            "initial_alpha": 1.001,
            "actor_lr": 2e-4,
            "critic_lr": 8e-4,
            "alpha_lr": 9e-4,
            "lr": None,
            "target_entropy": "auto",
            "n_step": (2, 5),
            "tau": 0.005,
            "train_batch_size_per_learner": 256,
            "target_network_update_freq": 1,
            "replay_buffer_config": {
                "type": "PrioritizedEpisodeReplayBuffer",
                "capacity": 100_000,
                "alpha": 1.0,
                "beta": 0.0,
            },
            "num_steps_sampled_before_learning_starts": 256,
        },
        "model": {"fcnet_hiddens": [256, 256], "fcnet_activation": "relu", "head_fcnet_hiddens": []},
    },
}


def main() -> None:
    options = arguments(__doc__, TUNED)
    started = process_started()
    if options.threads:
        torch.set_num_threads(options.threads)
    tuned = TUNED[options.algorithm, options.env]
    connector = {"env_to_module_connector": lambda *unused, **also_unused: MeanStdFilter()} if "filter" in tuned else {}
    config = (
        tuned["config"]()
        .environment(options.env)
        .env_runners(num_env_runners=max(1, len(os.sched_getaffinity(0)) - 1), **connector)
        .training(**tuned["training"])
        .rl_module(model_config=DefaultModelConfig(**tuned["model"]))
        .debugging(seed=options.seed, log_level="ERROR")
    )
    algorithm = config.build_algo()
    training_started, solved, steps = time.time(), False, 0
    while not solved and time.time() < training_started + options.max_seconds:
        found = algorithm.train()
        runners = found.get("env_runners", {})
        steps = int(runners.get("num_env_steps_sampled_lifetime", steps))
        solved = float(runners.get("episode_return_mean", -np.inf)) >= options.solved
    tell(
        started=started,
        training_started=training_started,
        ended=time.time(),
        solved=solved,
        steps=steps,
        versions={"torch": torch.__version__, "gymnasium": gymnasium.__version__},
    )
    algorithm.stop()


if __name__ == "__main__":
    main()
