"""Close environments, every one of them, whatever some of them raise."""

import logging
import multiprocessing
import time
from collections.abc import Iterable
from typing import Any

from gymnasium.error import NoAsyncCallError
from gymnasium.vector import AsyncVectorEnv, VectorEnv

logger = logging.getLogger(__name__)

ANSWER_S = 1.0  # for the processes of a vector to answer what they were asked before


def close_all(environments: Iterable[Any], name: str) -> None:
    """Close each; what they raise is one line in the log."""
    complaint = closed(environments, name)
    if complaint:
        logger.warning("%s", complaint)


def closed(environments: Iterable[Any], name: str) -> str:
    """Close each; one line that says what they raised, or nothing."""
    errors = []
    for each in environments:
        try:
            close_one(each)
        except (Exception, SystemExit) as error:
            errors.append(error)
    if not errors:
        return ""
    first = " ".join(f"{type(errors[0]).__name__}: {errors[0]}".split())
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{name} raised in close: {first}{more}: what it holds may be left behind"


def close_one(environment: Any) -> None:
    """Close it, also where it is a vector whose processes are in the middle of a step, or have died."""
    inner = environment.unwrapped if isinstance(environment, VectorEnv) else None
    if not isinstance(inner, AsyncVectorEnv) or inner.closed:
        environment.close()
        return
    try:
        _take_answers(inner)
        environment.close()
    except (EOFError, OSError):  # one of its processes has died, and its own close waits for that one
        _end_processes(inner)


def _take_answers(vector: AsyncVectorEnv) -> None:
    """Take what is under way. A signal may have come when some answers were taken: ``close`` would wait for them.

    Raises:
        EOFError, OSError: a process has died.
    """
    for wait in (vector.step_wait, vector.reset_wait, vector.call_wait):
        try:
            wait(timeout=0)
        except NoAsyncCallError:
            continue
        except multiprocessing.TimeoutError:
            deadline = time.monotonic() + ANSWER_S
            for pipe in vector.parent_pipes:
                if pipe is not None and pipe.poll(max(0.0, deadline - time.monotonic())):
                    pipe.recv()
        except (EOFError, OSError):
            raise
        except Exception:  # of one environment, in a step that nobody asks about any more
            continue


def _end_processes(vector: AsyncVectorEnv) -> None:
    for process in vector.processes:
        process.terminate()
    for process in vector.processes:
        process.join(ANSWER_S)
        if process.is_alive():
            process.kill()
            process.join()
    vector.closed = True
