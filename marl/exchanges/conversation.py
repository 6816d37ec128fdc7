"""The loops that run an exchange: one for each side of a link, and one for both sides in one process. None of them
knows what is exchanged.
"""

import contextlib
import threading
from collections.abc import Callable

from marl.errors import HandshakeRefused, LinkClosed, LinkError, LinkTimeout, MessageRefused
from marl.exchanges.sides import ChildSide, ParentSide
from marl.failpoints import fail
from marl.wire.link import Link
from marl.wire.message import Kind, Message
from marl.wire.payload import hand_over


def report(
    link: Link, side: ChildSide, stop: threading.Event, *, name: str, reason: Callable[[], str] = lambda: ""
) -> bool:
    """Run a child's side: send what is due, accept what comes. True if the parent said that the run is over.

    Once ``stop`` is set, the child still sends what is due, then closes gracefully.

    Args:
        reason: returns why this child cannot go on; empty if it leaves for another reason.

    Raises:
        LinkError: the conversation broke; it can continue on another link.
    """
    side.joined()
    while True:
        leaving = stop.is_set()
        # The parent may have closed the link already. Then recv returns its last message, or raises the reason.
        with contextlib.suppress(LinkClosed):
            for message in side.outgoing():
                fail(f"child.sending.{message.kind}")
                link.send(message)
                fail(f"child.sent.{message.kind}")
        if leaving:
            why = reason()
            link.send(Message(Kind.STOP, name, info={"reason": why[:1000]} if why else {}))
            return False
        try:
            message = link.recv(side.pause(), side.receive_buffers)
        except LinkTimeout:
            continue
        except MessageRefused as error:
            side.rejected(str(error))
            continue
        if message.kind is Kind.STOP:
            return True
        side.accept(message)


def confer(child: ChildSide, parent: ParentSide, stop: threading.Event, *, name: str) -> None:
    """Run both sides in one thread of one process, until ``stop`` is set. The parent's side must not wait for long.
    Messages are not turned into bytes, and no thread has to be woken.

    Raises:
        LinkError, MessageRefused: one side cannot use a message of the other.
    """
    child.joined()
    try:
        child.accept(hand_over(parent.join(name).message, child.receive_buffers))
        while not stop.is_set():
            idle = True
            for message in child.outgoing():
                idle = False
                answer = parent.answer(name, hand_over(message, lambda header: parent.receive_buffers(name, header)))
                if answer is not None:
                    child.accept(hand_over(answer.message, child.receive_buffers))
            if idle:
                stop.wait(child.pause())
    finally:
        parent.leave(name)


def converse(link: Link, child: str, side: ParentSide, stop: threading.Event, *, name: str) -> None:
    """Run the parent's side for one child, until ``stop`` is set or the child closes gracefully.

    Raises:
        HandshakeRefused: the child cannot go on with this run.
        LinkError: the conversation broke.
    """
    try:
        first = side.join(child)
        fail("parent.joined")
        link.send(first.message, first.digest)
        while not stop.is_set():
            try:
                message = link.recv(side.patience(child), lambda header: side.receive_buffers(child, header))
            except LinkTimeout:
                answer = side.late(child)
            except MessageRefused as error:
                answer = side.rejected(child, str(error))
            else:
                if message.kind is Kind.STOP:
                    if message.info.get("reason"):
                        raise HandshakeRefused(f"the child has given up: {message.info['reason']}")
                    if message.info.get("trouble"):  # the child trains on, and may converse again
                        raise LinkClosed(f"the child ended the conversation: {message.info['trouble']}")
                    return
                answer = side.answer(child, message)
            if answer is not None:
                fail(f"parent.sending.{answer.message.kind}")
                # The child may have closed the link already. Then recv returns its last message, or raises the reason.
                with contextlib.suppress(LinkClosed):
                    link.send(answer.message, answer.digest)
        with contextlib.suppress(LinkError):
            link.send(Message(Kind.STOP, name))
    finally:
        side.leave(child)
