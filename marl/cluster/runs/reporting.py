"""Makes the stream of a run's events from its settings, and closes it when the run ends."""

import contextlib
from collections.abc import Iterator, Mapping

from marl.config.settings import Config, to_tree
from marl.reports.events import Began, Ended
from marl.reports.run_folder import RunFolder
from marl.reports.sinks.sink import Facts, Sink
from marl.reports.stream import Stream
from marl.training.saved.weights_file import WeightsFile


@contextlib.contextmanager
def reporting(
    config: Config,
    folder: RunFolder,
    sinks: Mapping[str, Sink],
    resumed: WeightsFile | None,
    *,
    plain: bool,
    quiet: bool,
) -> Iterator[Stream]:
    """Tell ``sinks`` what happens until the end of the block; an error that ends the block is told too.

    Args:
        resumed: the checkpoint that the run goes on from.
        plain: the user wants lines on the terminal; ``quiet``: nothing.
    """
    events = Stream(sinks)
    facts = Facts(
        folder=folder.path,
        environment=config.environment.id,
        algorithm=config.algorithm.name,
        exchange=config.exchange.name,
        seed=config.seed or 0,
        settings=to_tree(config),
        steps=0 if resumed is None else int(resumed.info["steps"]),
        seconds=0.0 if resumed is None else float(resumed.info["seconds"]),
        plain=plain,
        quiet=quiet,
    )
    events.begin(facts)
    try:
        events.on(
            Began(environment=facts.environment, algorithm=facts.algorithm, exchange=facts.exchange, seed=facts.seed)
        )
        yield events
    except BaseException as error:
        events.on(Ended(reason="failed", failure=f"{type(error).__name__}: {error}"))
        raise
    finally:
        events.close()
