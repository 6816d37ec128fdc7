"""Show how a trained policy does: python test_env.py weights.pt [--help]"""

if __name__ == "__main__":
    from marl.cli.evaluate import evaluate
    from marl.cli.main import run

    run(evaluate)
