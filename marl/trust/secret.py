"""A key that cannot be shown by accident."""

import hmac
from typing import NoReturn


class Secret:
    """Bytes that appear in no ``repr``, log line or traceback, and that never cross to another process."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        """The bytes themselves; the caller answers for them.

        Traceback tools may print local variables: let no function that raises hold the result in one.
        """
        return self._value

    def __repr__(self) -> str:
        return "Secret(...)"

    def __eq__(self, other: object) -> bool:
        return hmac.compare_digest(self._value, other._value) if isinstance(other, Secret) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret stays in the process that holds it: give workers what they need, not the key")
