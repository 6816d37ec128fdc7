"""Train one stable-baselines3 algorithm with its tuned settings until solved; print one JSON line.

Run by the peers' Python (``peers.py``), never by ours. The settings are those of rl-baselines3-zoo
(``hyperparams/*.yml``), step budgets included: the linear schedules end with the budget. The zoo has none for
sb3-contrib's MaskablePPO: it has its own defaults, with as many environments as the zoo's PPO on CartPole-v1.
"""

import math
import time
from collections import deque

import gymnasium
import numpy as np
import torch
from stable_baselines3 import A2C, DQN, PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_atari_env, make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import SubprocVecEnv, VecEnv, VecFrameStack, VecNormalize

from peer import WINDOW, arguments, process_started, tell


def falling(start: float) -> LinearSchedule:
    """From ``start`` to 0 over the whole budget; the zoo writes ``lin_<start>``."""
    return LinearSchedule(start, 0.0, 1.0)


WIDE = {"pi": [256, 256], "vf": [256, 256]}
ROBOT = {"log_std_init": -2, "ortho_init": False, "activation_fn": torch.nn.ReLU, "net_arch": WIDE}

TUNED = {
    ("ppo", "CartPole-v1"): {
        "num_environments": 8,
        "budget": 100_000,
        "n_steps": 32,
        "batch_size": 256,
        "n_epochs": 20,
        "gae_lambda": 0.8,
        "gamma": 0.98,
        "ent_coef": 0.0,
        "learning_rate": falling(0.001),
        "clip_range": falling(0.2),
    },
    ("a2c", "CartPole-v1"): {"num_environments": 8, "budget": 500_000, "ent_coef": 0.0},
    ("ppo", "LunarLander-v3"): {
        "num_environments": 16,
        "budget": 1_000_000,
        "n_steps": 1024,
        "batch_size": 64,
        "n_epochs": 4,
        "gae_lambda": 0.98,
        "gamma": 0.999,
        "ent_coef": 0.01,
    },
    ("a2c", "LunarLander-v3"): {
        "num_environments": 8,
        "budget": 200_000,
        "n_steps": 5,
        "gamma": 0.995,
        "ent_coef": 0.00001,
        "learning_rate": falling(0.00083),
    },
    ("dqn", "CartPole-v1"): {
        "num_environments": 1,
        "budget": 50_000,
        "learning_rate": 2.3e-3,
        "batch_size": 64,
        "buffer_size": 100_000,
        "learning_starts": 1_000,
        "gamma": 0.99,
        "target_update_interval": 10,
        "train_freq": 256,
        "gradient_steps": 128,
        "exploration_fraction": 0.16,
        "exploration_final_eps": 0.04,
        "policy_kwargs": {"net_arch": [256, 256]},
    },
    ("dqn", "LunarLander-v3"): {
        "num_environments": 1,
        "budget": 100_000,
        "learning_rate": 6.3e-4,
        "batch_size": 128,
        "buffer_size": 50_000,
        "learning_starts": 0,
        "gamma": 0.99,
        "target_update_interval": 250,
        "train_freq": 4,
        "gradient_steps": -1,
        "exploration_fraction": 0.12,
        "exploration_final_eps": 0.1,
        "policy_kwargs": {"net_arch": [256, 256]},
    },
    ("ppo", "ALE/Pong-v5"): {
        "num_environments": 8,
        "budget": 10_000_000,
        "policy": "CnnPolicy",
        "n_steps": 128,
        "n_epochs": 4,
        "batch_size": 256,
        "learning_rate": falling(2.5e-4),
        "clip_range": falling(0.1),
        "vf_coef": 0.5,
        "ent_coef": 0.01,
    },
    ("ppo", "HalfCheetah-v5"): {
        "num_environments": 1,
        "budget": 1_000_000,
        "normalize": True,
        "n_steps": 512,
        "batch_size": 64,
        "n_epochs": 20,
        "gamma": 0.98,
        "gae_lambda": 0.92,
        "learning_rate": 2.0633e-05,
        "clip_range": 0.1,
        "ent_coef": 0.000401762,
        "vf_coef": 0.58096,
        "max_grad_norm": 0.8,
        "policy_kwargs": ROBOT,
    },
    ("ppo", "Hopper-v5"): {
        "num_environments": 1,
        "budget": 1_000_000,
        "normalize": True,
        "n_steps": 512,
        "batch_size": 32,
        "n_epochs": 5,
        "gamma": 0.999,
        "gae_lambda": 0.99,
        "learning_rate": 9.80828e-05,
        "clip_range": 0.2,
        "ent_coef": 0.00229519,
        "vf_coef": 0.835671,
        "max_grad_norm": 0.7,
        "policy_kwargs": ROBOT,
    },
    ("maskable_ppo", "Taxi-v4"): {"num_environments": 8, "budget": 3_000_000},
    ("sac", "Pendulum-v1"): {"num_environments": 1, "budget": 20_000, "learning_rate": 1e-3},
}


MASKED = ("Taxi-v4",)


def allowed(environment: gymnasium.Env) -> np.ndarray:
    """The mask of Taxi-v4, as it is in ``info["action_mask"]``."""
    taxi = environment.unwrapped
    return taxi.action_mask(taxi.s)


class UntilSolved(BaseCallback):
    """Stops at the very step where the mean of the last 100 training episodes reaches ``solved``."""

    def __init__(self, solved: float, deadline: float) -> None:
        super().__init__()
        self.solved = solved
        self.deadline = deadline
        self.returns: deque[float] = deque(maxlen=WINDOW)
        self.best_mean = -math.inf
        self.reached = False
        self.ended_at = 0.0

    def _on_step(self) -> bool:
        # Read here, not from model.ep_info_buffer: that is filled only after this call, a step late.
        ended = [info["episode"]["r"] for info in self.locals["infos"] if "episode" in info]
        if ended:
            self.returns.extend(ended)
            if len(self.returns) == WINDOW:
                mean = sum(self.returns) / WINDOW
                self.best_mean = max(self.best_mean, mean)
                self.reached = mean >= self.solved
        self.ended_at = time.time()
        return not self.reached and self.ended_at < self.deadline


def make(name: str, count: int, seed: int) -> VecEnv:
    """Environments as the zoo makes them: of Atari games, stacks of four frames, each environment in a process."""
    if name in MASKED:
        from sb3_contrib.common.wrappers import ActionMasker

        wraps = {"wrapper_class": ActionMasker, "wrapper_kwargs": {"action_mask_fn": allowed}}
        return make_vec_env(name, n_envs=count, seed=seed, **wraps)
    if not name.startswith("ALE/"):
        return make_vec_env(name, n_envs=count, seed=seed)
    # Named with the module that knows it, which each process then imports.
    name = f"ale_py:{name}"
    games = make_atari_env(name, n_envs=count, seed=seed, env_kwargs={"frameskip": 1}, vec_env_cls=SubprocVecEnv)
    return VecFrameStack(games, 4)


def evaluated(model: BaseAlgorithm, environment: VecEnv, episodes: int) -> float:
    """Mean un-normalised return over ``episodes`` episodes of the most likely actions."""
    if isinstance(environment, VecNormalize):
        environment.training = environment.norm_reward = False
    mean, _ = evaluate_policy(model, environment, n_eval_episodes=episodes, deterministic=True)
    return round(float(mean), 2)


def main() -> None:
    options = arguments(__doc__, TUNED)
    started = process_started()
    if options.threads:
        torch.set_num_threads(options.threads)
    settings = dict(TUNED[options.algorithm, options.env])
    environment = make(options.env, settings.pop("num_environments"), options.seed)
    budget, policy = settings.pop("budget"), settings.pop("policy", "MlpPolicy")
    if settings.pop("normalize", False):
        environment = VecNormalize(environment, gamma=settings["gamma"])
    if options.algorithm == "maskable_ppo":
        from sb3_contrib import MaskablePPO as algorithm  # the other peers need not wait for its import
    else:
        algorithm = {"ppo": PPO, "a2c": A2C, "dqn": DQN, "sac": SAC}[options.algorithm]
    model = algorithm(policy, environment, seed=options.seed, device="cpu", **settings)

    training_started = time.time()
    watch = UntilSolved(options.solved, training_started + options.max_seconds)
    model.learn(total_timesteps=budget, callback=watch)
    tell(
        started=started,
        training_started=training_started,
        ended=watch.ended_at,
        solved=watch.reached,
        steps=model.num_timesteps,
        last_mean=round(sum(watch.returns) / len(watch.returns), 2) if watch.returns else None,
        **({"evaluation_mean": evaluated(model, environment, options.evaluate)} if options.evaluate else {}),
        best_mean=round(watch.best_mean, 2) if watch.returns.maxlen == len(watch.returns) else None,
        versions={"torch": torch.__version__, "gymnasium": gymnasium.__version__},
    )


if __name__ == "__main__":
    main()
