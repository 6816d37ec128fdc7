"""One thread that does the input and output of every link in the process."""

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from marl.errors import LinkClosed
from marl.links.websocket.allocator import keep_buffers

LINGER_S = 2.0  # a link that closes may take so long to deliver what was sent

T = TypeVar("T")
_log = logging.getLogger(__name__)


class IOLoop:
    """An asyncio loop in a daemon thread; links are the blocking face between it and the threads of conversations.

        with IOLoop() as io:
            link = connect(io, "10.0.0.7", 5050, identity)

    Leaving the block closes every link that is still open and waits until what was sent has left.
    """

    def __init__(self) -> None:
        self.loop = asyncio.SelectorEventLoop()  # links read and write when the socket can
        self.loop.set_exception_handler(_note)
        self._thread = threading.Thread(target=self._run, name="marl-io", daemon=True)  # exit never waits for a peer
        self._candidates: dict[asyncio.Task[None], Callable[[], None]] = {}  # touched in the loop's thread only

    def start(self) -> Self:
        """Start the thread."""
        keep_buffers()
        self._thread.start()
        return self

    def close(self) -> None:
        """Close what is open, end the thread and free everything; may be called twice, but not by the thread itself."""
        if self.loop.is_closed():
            return
        if self._thread.is_alive():
            try:
                self.call(self._wind_up(), timeout=3 * LINGER_S)
            except (TimeoutError, LinkClosed):
                _log.debug("the I/O loop left work behind")
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(LINGER_S)
        if not self._thread.is_alive():
            self.loop.close()

    def call(self, coroutine: Coroutine[Any, Any, T], timeout: float) -> T:
        """Run ``coroutine`` on the loop and wait for its result at most ``timeout`` seconds.

        Raises:
            TimeoutError: it was cancelled.
            LinkClosed: the loop is closed.
        """
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise RuntimeError("expected a call from another thread than the loop's own")
        try:
            future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        except RuntimeError as error:
            coroutine.close()
            raise LinkClosed("expected a running I/O loop, got one that is closed: make a new one") from error
        try:
            return future.result(timeout)
        except asyncio.CancelledError as error:
            raise LinkClosed("the I/O loop was closed meanwhile") from error
        finally:
            future.cancel()

    def adopt(self, coroutine: Coroutine[Any, Any, None], end: Callable[[], None]) -> None:
        """Run ``coroutine`` until it returns; ``close`` calls ``end`` and waits for it. From the loop's thread only."""
        task = self.loop.create_task(coroutine)
        self._candidates[task] = end
        task.add_done_callback(lambda done: self._candidates.pop(done, None))

    async def _wind_up(self) -> None:
        candidates = dict(self._candidates)
        for end in candidates.values():
            end()
        if candidates:
            await asyncio.wait(candidates, timeout=2 * LINGER_S)
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        if rest:
            await asyncio.wait(rest, timeout=LINGER_S)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _note(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Faults of single connections reach their links; what asyncio says besides is for a debugger."""
    _log.debug("%s", context.get("message"), exc_info=context.get("exception"))
