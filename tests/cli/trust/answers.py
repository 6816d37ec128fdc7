"""What commands about keys and nodes answer."""

from collections.abc import Callable

from tests.cli.conftest import Answer

Command = Callable[..., Answer]


def fine(answer: Answer) -> str:
    assert answer.code == 0, answer
    return answer.out


def refused(answer: Answer, says: str, code: int = 1) -> None:
    assert (answer.code, answer.out) == (code, ""), answer
    assert answer.err.startswith("Error: ")
    assert answer.err.count("\n") == 1
    assert says in answer.err
