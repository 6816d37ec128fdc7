"""Ctrl-C and SIGTERM: the end at once while nothing is at stake, an event while something is."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM)


def end_at_once() -> None:
    """From now on either signal ends this process with one line, whatever it is doing.

    An exception would not do: thrown into a half-imported torch or numpy it comes out as another, or not at all.
    """
    if threading.current_thread() is threading.main_thread():
        for number in STOPPING:
            signal.signal(number, _end)


def _end(number: int, unused_frame: FrameType | None) -> None:
    os.write(2, b"Error: stopped\n")
    os._exit(128 + number)  # as a shell reports a process that a signal ended


class StopEvent(threading.Event):
    """Set when the program is to end."""

    signal: int | None = None  # the number of the first signal that set it


@contextlib.contextmanager
def stop_event() -> Iterator[StopEvent]:
    """An event that either signal sets; outside the main thread signals stay as they are.

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
    before = {
        number: signal.signal(number, lambda came, unused: os.write(writer, bytes([came]))) for number in STOPPING
    }
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(writer)  # ends the thread
        thread.join()
        os.close(reader)


def _set_when_told(reader: int, event: StopEvent) -> None:
    while told := os.read(reader, 1):
        event.signal = event.signal or told[0]
        event.set()


def stop_with_stdin(event: threading.Event) -> None:
    """Set the event when standard input closes: whoever started this process is gone."""

    def watch() -> None:
        with contextlib.suppress(OSError, ValueError):
            while os.read(0, 4096):
                pass
        event.set()

    threading.Thread(target=watch, name="watch standard input", daemon=True).start()
