"""``-ip a b c``: an option that takes as many values as follow. click has none, so its arguments are rewritten."""

import click

NAMES = ("-ip", "--children")


class TakesAddresses(click.Command):
    """A command whose ``-ip`` takes one value or several in a row, up to the next option, and may be repeated."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does, with an option before each value."""
        return super().parse_args(ctx, one_each(args))


def one_each(args: list[str]) -> list[str]:
    """``-ip a b -p 1`` as ``-ip a -ip b -p 1``."""
    rewritten: list[str] = []
    option: str | None = None  # whose values follow
    first = False
    for arg in args:
        if arg.startswith("-"):
            option, first = (arg, True) if arg in NAMES else (None, False)
        elif option is not None and not first:
            rewritten.append(option)
        else:
            first = False
        rewritten.append(arg)
    return rewritten
