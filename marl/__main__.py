"""``python -m marl``, where the console command is not on the path."""

from marl.cli.main import main

if __name__ == "__main__":
    main()
