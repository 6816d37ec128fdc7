"""Ctrl-C, SIGTERM and the end of the terminal: they end a process at once, raise an exception, or set an event."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

STOPPING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Interrupted(BaseException):
    """One of these signals came while environments were open, which are closed on the way out."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


_installer = 0  # the process that has set the handlers; those that it forks have them too
_leftovers: dict[Callable[[], object], int] = {}  # what removes them, and in which process


def remove_at_the_end(remove: Callable[[], object]) -> None:
    """Call it, too, where a signal ends this process at once, past every ``finally``; it may run twice.

    A process that is forked from this one does not: what is to be removed is not its own.
    """
    _leftovers[remove] = os.getpid()


def end_at_once() -> None:
    """From now on each of them ends this process with one line, whatever it is doing.

    An exception would not do: thrown into a half-imported torch or numpy it comes out as another, or not at all.
    """
    if threading.current_thread() is threading.main_thread():
        _handle(_end)


def _forked(number: int) -> bool:
    """Whether this process is only forked from the one that set the handlers; then the signal is dealt with.

    SIGTERM ends it as if there were no handler. The others go to the whole group: who has forked it answers them, and
    ends it in good order.
    """
    if os.getpid() == _installer:
        return False
    if number == signal.SIGTERM:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    return True


def _end(number: int, unused_frame: FrameType | None) -> None:
    if _forked(number):
        return
    with contextlib.suppress(OSError):  # the terminal may be gone
        os.write(2, b"Error: stopped\n")
    for remove, owner in list(_leftovers.items()):
        if owner == os.getpid():
            with contextlib.suppress(Exception):
                remove()
    os._exit(128 + number)  # as a shell reports a process that a signal ended


def _handle(handler: Callable[[int, FrameType | None], object]) -> dict[int, Any]:
    """Set it for all of them; what there was before. ``nohup`` ignores the end of a terminal, and that stays so."""
    global _installer
    _installer = os.getpid()
    ignored = {number for number in STOPPING[2:] if signal.getsignal(number) is signal.SIG_IGN}
    return {number: signal.signal(number, handler) for number in STOPPING if number not in ignored}


@contextlib.contextmanager
def raising() -> Iterator[None]:
    """A signal that would end the process at once raises ``Interrupted`` in the block; the next one ends it at once."""

    def interrupt(number: int, unused_frame: FrameType | None) -> None:
        if _forked(number):
            return
        _handle(_end)
        raise Interrupted(number)

    here = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is _end
    before = _handle(interrupt) if here else {}
    try:
        yield
    finally:
        _restore(before)


class StopEvent(threading.Event):
    """Set when the program is to end."""

    signal: int | None = None  # the number of the first signal that set it


_events: list[StopEvent] = []  # those of this moment
_before_last_words: list[dict[int, Any]] = []  # the handlers to set again at the end of each ``last_words``


@contextlib.contextmanager
def last_words() -> Iterator[None]:
    """A program that a ``stop_event`` in the block was told to end says in full what it has come to: until the end of
    the block no further signal ends it. Who keeps pressing Ctrl-C would lose the result otherwise.
    """
    _before_last_words.append({})
    try:
        yield
    finally:
        _restore(_before_last_words.pop())


def end_if_told() -> None:
    """For who waits long before a run begins.

    Raises:
        Interrupted: a signal has set the ``stop_event`` of this moment.
    """
    for event in _events:
        if event.signal is not None:
            raise Interrupted(event.signal)


@contextlib.contextmanager
def stop_event() -> Iterator[StopEvent]:
    """An event that each of them sets; outside the main thread signals stay as they are.

    A handler runs between two instructions of the main thread, which may hold the event's own lock just then: to set it
    there could wait for ever. So the handler only writes a byte, and a thread sets the event.
    """
    event = StopEvent()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    reader, writer = os.pipe()
    thread = threading.Thread(target=_set_when_told, args=(reader, event), name="watch signals", daemon=True)
    thread.start()
    before = _handle(lambda came, unused: _forked(came) or os.write(writer, bytes([came])))
    _events.append(event)
    try:
        yield event
    finally:
        _events.remove(event)
        late: list[int] = []
        _handle(lambda came, unused: late.extend([came] * (not _forked(came))))
        os.close(writer)  # ends the thread
        thread.join()
        os.close(reader)
        if event.signal is not None and _before_last_words:
            _before_last_words[-1] = before | _before_last_words[-1]
        else:
            _restore(before)
            if late and event.signal is None:
                signal.raise_signal(late[0])


def _restore(before: dict[int, Any]) -> None:
    for number, handler in before.items():
        signal.signal(number, handler)


def _set_when_told(reader: int, event: StopEvent) -> None:
    while told := os.read(reader, 1):
        event.signal = event.signal or told[0]
        event.set()


def stop_with_pipe(pipe: "Connection", event: threading.Event) -> None:
    """Set the event when the other side of a pipe, on which nothing is said, is closed."""

    def watch() -> None:
        with contextlib.suppress(OSError, EOFError):
            pipe.recv()
        event.set()

    threading.Thread(target=watch, name="watch pipe", daemon=True).start()


def stop_with_stdin(event: threading.Event) -> None:
    """Set the event when standard input closes: the process that started this one is gone."""

    def watch() -> None:
        with contextlib.suppress(OSError, ValueError):
            while os.read(0, 4096):
                pass
        event.set()

    threading.Thread(target=watch, name="watch standard input", daemon=True).start()


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in the block once it has taken so long, also while code of a user's own waits for something.

    Only the main thread, and only a system with timers, can be interrupted so; elsewhere there is no limit.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def expired(unused_number: int, unused_frame: FrameType | None) -> None:
        raise TimeoutError(f"took more than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, expired)
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, left, interval)  # somebody else's goes on, later by what the block took
