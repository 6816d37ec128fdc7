"""What a view may be asked to draw on."""

import io


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Ascii(io.StringIO):
    encoding = "ascii"


class GoneTerminal(Terminal):
    def write(self, unused_text: str) -> int:
        raise OSError(5, "Input/output error")
