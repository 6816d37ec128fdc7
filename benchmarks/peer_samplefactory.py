"""Train by Sample Factory's APPO until solved; print one JSON line.

CartPole-v1 has the settings of its own example. ALE/Pong-v5 has the network, the batches and the epochs that
``atari_speed.py`` gives all. Run by the Python of ``.venv-peers-samplefactory``. Workers are as many as there are
cores.
"""

import contextlib
import os
import tempfile
import time

import gymnasium
import numpy as np
import psutil
import torch
from sample_factory.algo.runners.runner import AlgoObserver, Runner
from sample_factory.cfg.arguments import parse_full_cfg, parse_sf_args
from sample_factory.envs.env_utils import register_env
from sample_factory.train import make_runner

from peer import WINDOW, arguments, process_started, tell

TUNED = {
    ("appo", "CartPole-v1"): [
        "--use_rnn=False", "--num_envs_per_worker=20", "--policy_workers_per_policy=2", "--recurrence=1",
        "--with_vtrace=False", "--batch_size=512", "--reward_scale=0.1", "--save_every_sec=10",
        "--experiment_summaries_interval=10",
    ],
    ("appo", "ALE/Pong-v5"): [
        "--use_rnn=False", "--num_envs_per_worker=8", "--recurrence=1", "--rollout=128", "--batch_size=256",
        "--num_batches_per_epoch=4", "--num_epochs=4", "--encoder_conv_architecture=convnet_atari",
        "--encoder_conv_mlp_layers", "512", "--nonlinearity=relu", "--obs_scale=255", "--normalize_input=False",
        "--reward_clip=1", "--learning_rate=2.5e-4", "--save_every_sec=600",
        "--decorrelate_envs_on_one_worker=False",  # else it plays for a while before it learns
    ],
}  # fmt: skip


class TimeIsUp(Exception):
    """Told to end, the peer first learns from all batches that wait: minutes on a busy machine."""


class UntilSolved(AlgoObserver):  # type: ignore[misc]
    """Ends training after the batch at which the mean of the last 100 episodes reaches ``solved``, or time is up."""

    def __init__(self, solved: float, max_seconds: float) -> None:
        self.solved, self.reached, self.max_seconds = solved, False, max_seconds
        self.ended = self.started = 0.0
        self.steps = 0

    def on_start(self, runner: Runner) -> None:
        self.started = time.time()

    def on_training_step(self, runner: Runner, training_iteration_since_resume: int) -> None:
        self.ended, self.steps = time.time(), sum(runner.env_steps.values())
        returns = runner.policy_avg_stats.get("reward", [[]])[0]
        if len(returns) >= WINDOW and sum(returns) / len(returns) >= self.solved:
            self.reached = True
            runner.cfg.train_for_env_steps = 0  # which it looks at next
        elif self.ended - self.started >= self.max_seconds:
            raise TimeIsUp


def make(name: str, cfg: object = None, env_config: object = None, render_mode: object = None) -> gymnasium.Env:
    """As Sample Factory asks for it, in processes of its own: of Atari games, stacks of four frames."""
    if not name.startswith("ALE/"):
        return gymnasium.make(name)
    # gymnasium is here of a version for which ale-py does not register its games by itself.
    from ale_py.registration import register_v5_envs
    from gymnasium.wrappers import AtariPreprocessing, FrameStack, TransformObservation

    if name not in gymnasium.registry:
        register_v5_envs()
    game = AtariPreprocessing(gymnasium.make(name, frameskip=1))
    return TransformObservation(FrameStack(game, 4), np.asarray)


def main() -> None:
    options = arguments(__doc__, TUNED)
    started = process_started()
    register_env(options.env, make)
    with tempfile.TemporaryDirectory() as folder:
        words = [
            "--algo=APPO",
            f"--env={options.env}",
            f"--seed={options.seed}",
            "--device=cpu",
            f"--train_dir={folder}",
        ]
        words += [f"--num_workers={len(os.sched_getaffinity(0))}", "--train_for_seconds=1000000"]
        words += ["--experiment=bench", f"--stats_avg={WINDOW}", *TUNED[options.algorithm, options.env]]
        parser, _ = parse_sf_args(argv=words)
        _, runner = make_runner(parse_full_cfg(parser, words))
        watch = UntilSolved(options.solved, options.max_seconds)
        runner.register_observer(watch)
        runner.init()
        with contextlib.suppress(TimeIsUp):
            runner.run()
        for process in psutil.Process().children(recursive=True):
            process.kill()
    tell(
        started=started,
        training_started=watch.started,
        ended=watch.ended,
        solved=watch.reached,
        steps=watch.steps,
        versions={"torch": torch.__version__, "gymnasium": gymnasium.__version__},
    )
    os._exit(0)  # its threads may still wait for processes that are gone


if __name__ == "__main__":
    main()
