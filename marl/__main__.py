"""``python -m marl``: the same as the ``marl`` command."""

from marl.cli.main import main

if __name__ == "__main__":
    main()
