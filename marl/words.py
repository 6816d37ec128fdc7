"""Words for people: what came from elsewhere, made harmless for a terminal and a log, and what several places say."""

import unicodedata
from collections.abc import Iterable

MOST = 1000  # letters of one line
MOST_LISTED = 3  # reasons of one line
CUT = " ..."  # ends a line that was longer
_MARKS = 2  # accents on one letter; piled up they cover the lines above
_BLANKS = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"  # letters by their kind, and nothing to see


def printable(text: str, most: int = MOST) -> str:
    """One line of at most ``most`` letters, without what commands a terminal, turns the direction of reading or cannot
    be seen: that becomes a question mark, and line breaks a space.
    """
    if len(text) > 4 * most:
        text = text[: 4 * most]  # what follows is not worth the time
    if not (text.isascii() and text.isprintable()):
        text = "".join(map(_visible, " ".join(text.split())))
        text = _without_piles(text)
    return text if len(text) <= most else text[: most - len(CUT)] + CUT


def listed(reasons: Iterable[str]) -> str:
    """Different reasons in one line, the first few of them."""
    different = list(dict.fromkeys(reasons))
    more = f"; and {len(different) - MOST_LISTED} more" if len(different) > MOST_LISTED else ""
    return "; ".join(different[:MOST_LISTED]) + more


def silent(address: str) -> str:
    """Why a child takes no part that has said nothing yet."""
    return f"{address}: expected a marl child, got no answer yet: see whether it runs and no firewall is between"


def saved(updates: int) -> str:
    """How a line ends that says why a run cannot go on: what was learned by so many updates is not lost."""
    return "; what was learned is saved" if updates else ""


def _visible(letter: str) -> str:
    return letter if letter.isprintable() and letter not in _BLANKS else "?"


def _without_piles(text: str) -> str:
    kept, marks = [], 0
    for letter in text:
        marks = marks + 1 if unicodedata.category(letter).startswith("M") else 0
        if marks <= _MARKS:
            kept.append(letter)
    return "".join(kept)


def place(what: str, path: str) -> str:
    """A leaf in words: what it belongs to and its path, where that does not begin with the same word."""
    if not path or path == what or path.startswith(f"{what}/"):
        return path or what
    return f"{what} {path}"
