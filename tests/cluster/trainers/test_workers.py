from marl.api import evaluate, load, train


def test_a_short_run_leaves_weights_that_play(tmp_path):
    settings = {"seed": 1, "stop.steps": 2000, "node.workers": 2, "report.runs": str(tmp_path / "runs")}
    result = train("CartPole-v1", settings=settings, out=tmp_path / "weights.pt", live=False)
    assert result.reason == "steps"
    assert result.steps >= 2000
    assert result.updates > 0
    assert evaluate(result.weights, episodes=5).returns.shape == (5,)
    assert load(result.weights).act([0.0, 0.0, 0.0, 0.0]) in (0, 1)
    assert (result.run / "checkpoint.pt").is_file()
    assert (result.run / "curve.png").read_bytes().startswith(b"\x89PNG")
