"""The handshake: parent and child agree before weights are sent, or one line at both ends says why they do not."""

import dataclasses
import platform
import secrets
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from msgspec import UNSET
from torch import Tensor, nn

from marl import __version__
from marl.algorithms.base import Algorithm, schedules
from marl.cluster.find_spaces import find_spaces
from marl.cluster.memory_demand import replay_memory
from marl.cluster.own_parts import modules_of, plugin_names, try_parts
from marl.cluster.statistics import statistics_size
from marl.config.names import find_refused
from marl.config.rules import validate
from marl.config.settings import Config, from_tree, to_tree
from marl.data.spaces import Spaces
from marl.errors import HandshakeRefused, LinkTimeout, MarlError, MessageRefused
from marl.exchanges.part import unsaid
from marl.exchanges.payload_size import max_payload
from marl.failpoints import fail
from marl.links import probe as probing
from marl.processes.cores import count_cores
from marl.training.busy_time import demand_own_clock
from marl.training.flat import flatten, num_weights
from marl.training.schedule_length import schedule_length
from marl.wire.agreement import agree_protocol, compare
from marl.wire.codec import CODECS
from marl.wire.fingerprint import fingerprint, sources_of
from marl.wire.hello import MOST_LINE, Hello, Refusal, Welcome, from_info, to_info
from marl.wire.link import Link
from marl.wire.message import Kind, Message
from marl.wire.receive_buffers import no_buffers
from marl.words import printable

HELLO_S = 5.0  # seconds; a parent must send its Hello within this time
WELCOME_S = 60.0  # a child may have to import its environment from a slow disk
SECTIONS = ("environment", "network", "exploration", "algorithm", "optimizer", "replay", "exchange")


class Offer(NamedTuple):
    """What a child has built from a Hello."""

    hello: Hello
    config: Config
    spaces: Spaces
    network: nn.Module
    weights: Tensor  # [N]  of the network, as one vector
    welcome: Welcome
    max_bytes: int  # of a payload


def make_hello(
    config: Config, spaces: Spaces, network: nn.Module, *, run_id: str, term: int, instance: str, children: int = 1
) -> Hello:
    """The Hello of a run, for the child of rank 0."""
    if _has_schedule(config.algorithm):  # otherwise a resume with another end would start every child again for nothing
        # A child is not told when the run stops, so its schedule needs a length.
        length = schedule_length(config.algorithm, config.stop)
        algorithm = dataclasses.replace(config.algorithm, schedule_steps=length.steps, schedule_minutes=length.minutes)
        config = dataclasses.replace(config, algorithm=algorithm)
    tree = to_tree(config)
    for key in unsaid(config.exchange):
        del tree["exchange"][key]
    return Hello(
        run_id=run_id,
        term=term,
        instance=instance,
        fingerprint=_fingerprint(config, spaces, network),
        spaces=printable(spaces.words, MOST_LINE),
        num_bytes=4 * num_weights(network),
        codecs=config.exchange.codecs(),
        seed=config.seed or 0,
        deterministic=config.deterministic,
        rank=0,
        children=children,
        busy=config.clock.virtual or UNSET,
        **{name: tree[name] for name in SECTIONS},
    )


def _has_schedule(algorithm: Algorithm) -> bool:
    """Whether something may follow the run's progress; a user's own algorithm may use it as it likes."""
    return ":" in algorithm.name or any(shape != "constant" for shape in schedules(algorithm).values())


def offer(link: Link, hello: Hello, max_bytes: int, *, name: str) -> Welcome:
    """The parent's part of the handshake: send the Hello, check the Welcome.

    Args:
        max_bytes: the longest payload that will travel, see ``payload_of``.

    Raises:
        HandshakeRefused: parent and child differ, or the child refuses.
        LinkError: the conversation broke.
    """
    fail("parent.greeting")
    link.send(Message(Kind.HELLO, name, info=to_info(hello)))
    try:
        answer = link.recv(WELCOME_S, no_buffers)
        if answer.kind is Kind.REFUSAL:
            refusal = from_info(answer.info, Refusal)
            raise HandshakeRefused(refusal.reason, permanent=refusal.permanent, superseded=refusal.superseded)
        if answer.kind is not Kind.WELCOME:
            raise HandshakeRefused(f"expected a welcome, got a {answer.kind}: is that a marl child?")
        welcome = from_info(answer.info, Welcome)
    except LinkTimeout:
        raise HandshakeRefused(
            f"expected a welcome within {WELCOME_S:.0f} s, got nothing: see what the child says", permanent=False
        ) from None
    except MessageRefused as error:
        raise HandshakeRefused(f"expected a welcome, got something else: {error}") from error
    difference = compare(hello, welcome)
    if difference:
        different = HandshakeRefused(difference)
        refuse(link, different, name=name)
        raise different
    _tune(link, welcome.protocol, max_bytes)
    return welcome


def payload_of(config: Config, spaces: Spaces, network: nn.Module) -> int:
    """The longest payload of a run, in bytes."""
    weights = 4 * sum(tensor.numel() for tensor in (*network.parameters(), *network.buffers()))
    usual = max_payload(weights, statistics_size(config, spaces) or spaces.measured_size)
    return usual + config.exchange.payload_bytes(config, spaces, network)


def read_hello(link: Link, *, name: str, workers: int, busy: Callable[[], bool] = lambda: False) -> Hello | None:
    """The first step at the child: answer probes, and read what the parent offers. None if it only wanted to measure.

    Args:
        name: of this child; ``workers``: that it would start.
        busy: whether this child serves another run; then it cannot be measured.

    Raises:
        HandshakeRefused: the message is no Hello, or this child cannot read it.
        LinkError: the conversation broke.
    """
    link.limit(probing.MOST_BYTES)
    probed = False
    try:
        for _ in range(probing.MOST_PROBES):
            message = link.recv(HELLO_S, probing.probe_buffers)
            if message.kind is not Kind.PROBE:
                break
            if busy():
                return None
            probing.answer(link, message, name=name, workers=workers, cores=count_cores())
            probed = True
        if probed and message.kind is Kind.STOP:
            return None
        if message.kind is not Kind.HELLO:
            raise HandshakeRefused(f"expected a hello, got a {message.kind}: is that a marl parent?")
        return from_info(message.info, Hello)
    except MessageRefused as error:
        raise HandshakeRefused(f"expected a hello: {error}") from error


def examine(hello: Hello, *, allow: tuple[str, ...], workers: int) -> Offer:
    """Build what the Hello describes, out of code that is installed here.

    Args:
        allow: modules that the Hello may name in import paths, such as that of an algorithm.

    Raises:
        HandshakeRefused: this child cannot take part.
    """
    protocol = agree_protocol(hello)
    workers = 1 if hello.deterministic else workers
    try:
        tree: dict[str, Any] = {name: getattr(hello, name) for name in SECTIONS}
        _check_allowed(tree, allow)  # first: reading the settings imports an algorithm and an exchange
        clock = {"virtual": hello.busy is True}
        config = from_tree({"seed": hello.seed, "deterministic": hello.deterministic, "clock": clock, **tree})
        validate(config)
        if config.clock.virtual:
            demand_own_clock()
        spaces = find_spaces(config)
        network = try_parts(config, spaces)
        weights = flatten(network).weights
        config.exchange.demand_packages()
        replay_memory(config, spaces, network, workers)  # refuse a replay for which this machine has no room
        mine = _fingerprint(config, spaces, network)
    except HandshakeRefused:
        raise
    except MarlError as error:
        raise HandshakeRefused(printable(f"the child cannot take part: {error}")) from error
    except Exception as error:  # a constructor may raise anything on the parent's configuration
        raise HandshakeRefused(printable(f"the child cannot build this: {type(error).__name__}: {error}")) from error
    welcome = Welcome(
        protocol=protocol,
        fingerprint=mine,
        spaces=printable(spaces.words, MOST_LINE),
        num_bytes=weights.nbytes,
        codecs=CODECS,
        instance=secrets.token_hex(8),
        workers=workers,
        cores=count_cores(),
        host=_host(),
    )
    if difference := compare(hello, welcome):  # the parent would refuse too, but then nothing is shown here
        raise HandshakeRefused(difference)
    return Offer(hello, config, spaces, network, weights, welcome, payload_of(config, spaces, network))


def accept(link: Link, offered: Offer, *, name: str) -> None:
    """The second step at the child: send its Welcome.

    Raises:
        LinkError: the conversation broke.
    """
    fail("child.welcoming")
    link.send(Message(Kind.WELCOME, name, info=to_info(offered.welcome)))
    _tune(link, offered.welcome.protocol, offered.max_bytes)


def refuse(link: Link, error: HandshakeRefused, *, name: str) -> None:
    """Tell the other side the reason of a refusal.

    Raises:
        LinkError: the conversation broke.
    """
    refusal = Refusal(reason=str(error)[:4000], permanent=error.permanent, superseded=error.superseded)
    link.send(Message(Kind.REFUSAL, name, info=to_info(refusal)))


def _tune(link: Link, protocol: int, max_bytes: int) -> None:
    link.protocol = protocol
    link.limit(max_bytes)


def _fingerprint(config: Config, spaces: Spaces, network: nn.Module) -> str:
    modules = sorted({module for name in plugin_names(config) for module in modules_of(name)})
    settings: dict[str, Any] = {"algorithm": config.algorithm.name, "network": to_tree(config)["network"]}
    payload = config.exchange.payload(config, spaces, network)
    if payload is not None:
        settings["payload"] = payload.header
    sources = sources_of(modules) if modules else None
    return fingerprint(network, settings=settings, spaces=spaces, sources=sources)


def _check_allowed(tree: Mapping[str, Any], allow: tuple[str, ...]) -> None:
    """Refuse modules that the owner of this child has not allowed."""
    if refused := find_refused(tree, allow):
        raise HandshakeRefused(
            f"the child may import no {refused.part} from {refused.module}, which {refused.value!r:.200} needs: "
            f"its owner can allow it with --allow {refused.module}"
        )


def _host() -> dict[str, str]:
    return {
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "marl": __version__,
    }
