"""``marl bench``: what it asks of training."""

from typing import Any

import pytest
from click.testing import CliRunner

from marl import api
from marl.cli.environments.bench import bench
from marl.config.files import load_config
from marl.config.settings import Config


class Answered(Exception):
    """The settings are known."""


def test_nothing_is_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Config] = []

    def train(environment: str, *, settings: dict[str, Any], **unused: Any) -> None:
        asked.append(load_config(environment, settings))
        raise Answered

    monkeypatch.setattr(api, "train", train)
    result = CliRunner().invoke(bench, ["CartPole-v1", "--seconds", "3"])
    assert isinstance(result.exception, Answered)
    (config,) = asked
    assert (config.evaluation.episodes, config.evaluation.final_episodes) == (0, 0)
    assert config.stop.minutes == pytest.approx(3 / 60)
