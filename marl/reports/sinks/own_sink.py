"""A sink of the user's own: found by its import path, made in limited time, checked."""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

from marl.errors import PluginError
from marl.plugins import foreign_code, load_object
from marl.reports.events import Event
from marl.reports.sinks.sink import Facts, Sink, patience_of

IMPORT_S = 5.0  # for its module; then the user is told what the start waits for
READY_S = 10.0  # for its constructor, which may connect to a service

logger = logging.getLogger(__name__)


def own_sink(name: str) -> Sink:
    """Make the sink ``package.module:Class``. If it is not ready in time, the run begins without it.

    Raises:
        PluginError: it cannot be made, or is no sink.
    """
    with _told(name):
        made = load_object(name)
    making = _Making(name, made)
    with foreign_code(name):
        ready = making.wait(READY_S)
    return making.sink() if ready else making


@contextlib.contextmanager
def _told(name: str) -> Iterator[None]:
    """Say what is waited for where an import takes long. In a thread it would hold up later imports."""
    line = "report.sinks: the start waits for the import of %s, %g s so far; Ctrl-C ends it"
    timer = threading.Timer(IMPORT_S, logger.warning, (line, name.partition(":")[0], IMPORT_S))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class _Making:
    """Makes a sink in a thread. It takes the place of a sink that is late: ``begin``, which no run waits for, waits."""

    def __init__(self, name: str, make: Callable[[], Any]) -> None:
        self._name, self._make = name, make
        self._made: Any = None
        self._error: BaseException | None = None
        self._over = threading.Event()
        # A daemon: the process must be able to end although the constructor hangs.
        threading.Thread(target=self._run, name=f"make sink {name}", daemon=True).start()

    def _run(self) -> None:
        try:
            made = self._make()
            for method in ("begin", "on", "close"):
                if not callable(getattr(made, method, None)):
                    raise PluginError(f"report.sinks: {self._name} lacks {method}: see marl.reports.sinks.sink.Sink")
            patience_of(self._name, made)
            self._made = made
        except BaseException as error:  # raised where the sink is waited for
            self._error = error
        self._over.set()

    def wait(self, seconds: float) -> bool:
        """Whether the constructor ends within ``seconds``."""
        return self._over.wait(seconds)

    def sink(self) -> Sink:
        """The sink, once its constructor has ended.

        Raises:
            PluginError: see ``own_sink``.
        """
        self._over.wait()
        name, error = self._name, self._error
        if isinstance(error, PluginError):
            raise error
        if error is not None:
            raise PluginError(
                f"report.sinks: {name} cannot be made without arguments: {type(error).__name__}: {error}"
            ) from error
        made: Sink = self._made
        return made

    def begin(self, facts: Facts) -> None:
        """See ``Sink``."""
        self.sink().begin(facts)

    def on(self, event: Event) -> None:
        """See ``Sink``."""
        self._made.on(event)

    def close(self) -> None:
        """See ``Sink``."""
        self._made.close()
