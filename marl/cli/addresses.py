"""``-ip a b c``: an option that takes as many values as follow. click has none, so its arguments are rewritten."""

import re

import click

NAMES = ("-ip", "--children")
WORDS = "marl.words"  # in a context's meta: those of the command line


class TakesAddresses(click.Command):
    """A command whose ``-ip`` takes one value or several in a row, up to the next option, and may be repeated."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does, with an option before each value."""
        ctx.meta[WORDS] = list(args)
        return super().parse_args(ctx, one_each(args))


def one_each(args: list[str]) -> list[str]:
    """``-ip a b -p 1`` as ``-ip a -ip b -p 1``; an environment among the addresses becomes the command's argument."""
    rewritten: list[str] = []
    option: str | None = None  # whose values follow
    alone = False  # without any value so far: click then says what is missing
    for arg in args:
        if arg.startswith("-"):
            rewritten += [option] if option and alone else []
            option, alone = (arg, True) if arg in NAMES else (None, False)
            rewritten += [] if option else [arg]
        elif option is not None and not is_environment(arg):
            rewritten += [option, arg]
            alone = False
        else:
            rewritten.append(arg)
    return [*rewritten, option] if option and alone else rewritten


def is_environment(word: str) -> bool:
    """Whether a word among addresses is an environment, a preset or a file of settings, and no address.

    ``CartPole-v1`` could be the name of a host too: it is an environment if it is registered as one.
    """
    if word.endswith(".toml") or re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_][\w-]*", word):  # a port is a number
        return True
    if re.fullmatch(r"[A-Za-z][\w-]*/[\w-]+", word):
        return True
    name = re.fullmatch(r"(\w[\w-]*)-v\d+", word)
    if name is None:
        return False
    import gymnasium

    return any(spec.name == name[1] for spec in gymnasium.registry.values())  # of another version: a slip, and no host
