"""The ``marl`` command: each subcommand is imported only when it is used, so that help is instant."""

import importlib
import sys
from collections.abc import Callable
from typing import Any

import click

from marl import __version__
from marl.cli.output import own_output
from marl.errors import MarlError
from marl.processes.memory import NO_MEMORY, out_of_memory
from marl.processes.signals import Interrupted, end_at_once, last_words
from marl.words import printable

COMMANDS = {
    "train": "Train a policy with all cores of this machine.",
    "child": "Lend this machine to a parent.",
    "parent": "Train a policy on several machines, its children.",
    "attach": "Show a run that goes on in a Ray cluster.",
    "evaluate": "Play episodes with a trained policy and show its returns.",
    "export": "Write a trained policy as ONNX, TorchScript or safetensors.",
    "plot": "Draw the learning curves of one run, or compare several.",
    "study": "Train every variant of a study with every seed, and compare them.",
    "suggest": "Print settings that fit an environment, with reasons.",
    "presets": "List the environments with tuned settings.",
    "check": "Say what is wrong with an environment and how fast it is.",
    "bench": "Say how fast an environment is trained and where the time goes.",
    "keys": "Make, replace or show the key of your cluster.",
    "invite": "Write a ticket that lets a machine be a child.",
    "request": "On a child that keeps its key to itself: ask for a ticket.",
    "sign": "Turn a child's request into its ticket.",
    "revoke": "Let a node in no more.",
    "nodes": "List the nodes that this parent has invited or met.",
}
FOLDERS = {  # of those whose files have one
    **dict.fromkeys(["suggest", "presets", "check", "bench"], "environments"),
    "attach": "ray",
    **dict.fromkeys(["keys", "invite", "request", "sign", "revoke", "nodes"], "trust"),
}


class LazyGroup(click.Group):
    """Knows its commands by name and one line of help, and imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order a newcomer meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        if cmd_name not in COMMANDS:
            return None
        path = ".".join(filter(None, ["marl.cli", FOLDERS.get(cmd_name), cmd_name]))
        return getattr(importlib.import_module(path), cmd_name)  # type: ignore[no-any-return]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the nearest name when there is none."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            ctx.fail(f"no command {args[0]!r}: " + (f"did you mean {near[0]!r}?" if near else "see marl --help"))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """One line each, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="marl %(version)s")
def cli() -> None:
    """Train one reinforcement-learning policy with every core you have.

    \b
    marl train CartPole-v1          train until solved, write weights.pt
    marl evaluate weights.pt        show the returns of the saved policy
    marl suggest Taxi-v4            print settings that fit an environment, with reasons
    marl presets                    list the environments with tuned settings

    Shell completion: eval "$(_MARL_COMPLETE=bash_source marl)" (or zsh_source, fish_source).
    """


def main() -> None:
    """Entry point of the console script."""
    run(cli)


@last_words()
def run(command: click.Command | Callable[..., Any], args: list[str] | None = None) -> None:
    """Call a command; whatever a user can mend becomes one line and exit code 1 (2 for wrong options).

    ``--debug`` anywhere on the line shows the traceback as well.
    """
    end_at_once()
    words = sys.argv[1:] if args is None else args
    assert isinstance(command, click.Command)
    try:
        with own_output():
            command.main(args=words, standalone_mode=False)
    except click.UsageError as error:
        context = f" (see {error.ctx.command_path} --help)" if error.ctx else ""
        _fail(f"{error.format_message()}{context}", 2)
    except click.ClickException as error:
        _fail(error.format_message(), error.exit_code)
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _fail("stopped", 130)
    except Interrupted as error:
        _fail("stopped", 128 + error.number)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except MarlError as error:
        if "--debug" in words:
            raise
        _fail(str(error), 1)
    except (MemoryError, RuntimeError) as error:
        if "--debug" in words or not out_of_memory(error):
            raise
        _fail(NO_MEMORY, 1)
    except OSError as error:
        if "--debug" in words:
            raise
        _fail(f"{error.strerror or error}" + (f": {error.filename}" if error.filename else ""), 1)


def _fail(text: str, code: int) -> None:
    click.echo("Error: " + printable(text), err=True)
    sys.exit(code)
