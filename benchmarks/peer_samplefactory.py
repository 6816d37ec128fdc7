"""Train CartPole-v1 by Sample Factory's APPO, with the settings of its own example, until solved; print one JSON line.

Run by the Python of ``.venv-peers-samplefactory``. Workers are as many as there are cores.
"""

import os
import tempfile
import time

import gymnasium
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
}  # fmt: skip


class UntilSolved(AlgoObserver):  # type: ignore[misc]
    """Ends training after the batch at which the mean of the last 100 episodes reaches ``solved``."""

    def __init__(self, solved: float) -> None:
        self.solved, self.reached = solved, False
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


def make(name: str, cfg: object = None, env_config: object = None, render_mode: object = None) -> gymnasium.Env:
    """As Sample Factory asks for it, in processes of its own."""
    return gymnasium.make(name)


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
        words += [f"--num_workers={len(os.sched_getaffinity(0))}", f"--train_for_seconds={options.max_seconds:.0f}"]
        words += ["--experiment=bench", f"--stats_avg={WINDOW}", *TUNED[options.algorithm, options.env]]
        parser, _ = parse_sf_args(argv=words)
        _, runner = make_runner(parse_full_cfg(parser, words))
        watch = UntilSolved(options.solved)
        runner.register_observer(watch)
        runner.init()
        runner.run()
    tell(
        started=started,
        training_started=watch.started,
        ended=watch.ended,
        solved=watch.reached,
        steps=watch.steps,
        versions={"torch": torch.__version__, "gymnasium": gymnasium.__version__},
    )


if __name__ == "__main__":
    main()
