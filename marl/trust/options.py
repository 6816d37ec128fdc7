"""What a command line says about trust; nothing heavy is imported to hold it."""

from dataclasses import dataclass
from pathlib import Path

from marl.errors import ConfigError


@dataclass(frozen=True)
class TrustOptions:
    """What the command line says about trust; without a word, the user's folder is looked into.

    Raises:
        ConfigError: options that contradict each other.
    """

    key: Path | None = None  # the cluster's key; beside ``cert``, the key of that certificate in PEM
    ticket: Path | None = None
    cert: Path | None = None
    ca: Path | None = None
    server_name: str | None = None  # at a parent: the name in its children's certificates, else their address
    allow_names: tuple[str, ...] = ()  # the names of the other side that may speak; empty for all the authority signed
    insecure: bool = False

    def __post_init__(self) -> None:
        own = {
            "--cert": self.cert,
            "--ca": self.ca,
            "--server-name": self.server_name,
            "--allow-name": self.allow_names,
        }
        values = {"--key": self.key, "--ticket": self.ticket, **own}
        given = [option for option, value in values.items() if value]
        for alone, said in (("--insecure", self.insecure), ("--ticket", self.ticket is not None)):
            others = [option for option in given if option != alone]
            if said and others:
                raise ConfigError(f"expected {alone} alone, got {', '.join(others)} beside it: leave one of them out")
        missing = [option for option in ("--cert", "--key", "--ca") if not values[option]]
        if missing and any(own.values()):
            raise ConfigError(
                f"expected --cert, --key and --ca together, got {', '.join(given)}: add {' and '.join(missing)}"
            )
