"""Rounds of a peer, for ``rounds.py``; runs in the environment of ``peers.py``. Prints one JSON object.

.venv-peers-rounds/bin/python benchmarks/peer_rounds.py flower --parameters 1000000
"""

import argparse
import itertools
import json
import logging
import multiprocessing
import os
import socket
import sys
import time
import warnings

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=("flower", "hivemind"))
    parser.add_argument("--parameters", type=int, default=1_000_000)
    parser.add_argument("--children", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=12)
    options = parser.parse_args()
    run = flower if options.peer == "flower" else hivemind
    print(json.dumps({"seconds": run(options.parameters, options.children, options.rounds)}), flush=True)


def flower(num_parameters: int, num_children: int, num_rounds: int) -> list[float]:
    """Seconds of each round of federated averaging over gRPC, from one configuration of clients to the next."""
    import flwr
    import numpy as np

    quiet()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    context = multiprocessing.get_context("spawn")
    clients = [context.Process(target=flower_client, args=(address,), daemon=True) for _ in range(num_children)]
    for client in clients:
        client.start()
    marks: list[float] = []

    class Marking(flwr.server.strategy.FedAvg):
        def configure_fit(self, *args, **kwargs):
            marks.append(time.perf_counter())
            return super().configure_fit(*args, **kwargs)

    start = flwr.common.ndarrays_to_parameters([np.random.default_rng(0).standard_normal(num_parameters, np.float32)])
    strategy = Marking(
        fraction_fit=1.0,
        fraction_evaluate=0.0,
        min_fit_clients=num_children,
        min_available_clients=num_children,
        initial_parameters=start,
    )
    config = flwr.server.ServerConfig(num_rounds=num_rounds + 2)
    flwr.server.start_server(server_address=address, config=config, strategy=strategy)
    for client in clients:
        client.join(10.0)
        client.kill()
    return [after - before for before, after in itertools.pairwise(marks[1:])]


def flower_client(address: str) -> None:
    """A process that gives back what it got."""
    import flwr

    quiet()

    class Idle(flwr.client.NumPyClient):
        def fit(self, parameters, config):
            return parameters, 1000, {}

    wait_for_server(address)
    flwr.client.start_client(server_address=address, client=Idle().to_client(), insecure=True)


def wait_for_server(address: str, seconds: float = 60.0) -> None:
    """Until somebody listens there; the server imports for a while first, and announces nothing."""
    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + seconds
    while True:
        try:
            return socket.create_connection((host, int(port)), timeout=1.0).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)  # a server of theirs that announces nothing


def hivemind(num_parameters: int, num_children: int, num_rounds: int) -> list[float]:
    """Seconds of each round in which every averager has met all others, as the slowest saw it."""
    context = multiprocessing.get_context("fork")  # what hivemind needs in turn; nothing heavy is imported here yet
    barrier = context.Barrier(num_children)
    pipes, processes, maddrs = [], [], None
    for number in range(num_children):
        ours, theirs = context.Pipe()
        arguments = (theirs, number, maddrs, num_parameters, num_children, num_rounds + 1, barrier)
        process = context.Process(target=averager, args=arguments)
        process.start()
        pipes.append(ours)
        processes.append(process)
        if maddrs is None:
            maddrs = ours.recv()
    columns = [pipe.recv() for pipe in pipes]
    for process in processes:
        process.join(15.0)
        process.kill()
    rounds = list(zip(*columns, strict=True))[1:]  # the first shakes hands
    whole = [max(seconds for seconds, _ in each) for each in rounds if all(met == num_children for _, met in each)]
    if len(whole) < num_rounds:
        print(f"hivemind: {num_rounds - len(whole)} of {num_rounds} rounds did not have everybody", file=sys.stderr)
    return whole


def averager(pipe, number, maddrs, num_parameters, num_children, num_rounds, barrier) -> None:
    """A process with one averager; says how long each round took, and how many were in it."""
    import torch
    from hivemind import DHT
    from hivemind.averaging import DecentralizedAverager

    dht = DHT(initial_peers=maddrs, host_maddrs=["/ip4/127.0.0.1/tcp/0"], start=True)
    if maddrs is None:
        pipe.send([str(each) for each in dht.get_visible_maddrs()])
    tensors = [torch.full((num_parameters,), float(number))]
    averaging = DecentralizedAverager(
        tensors, dht, start=True, prefix="bench", target_group_size=num_children, min_matchmaking_time=4.0
    )
    rounds = []
    for _ in range(num_rounds):
        barrier.wait(120.0)
        started = time.perf_counter()
        group = averaging.step(timeout=60.0)
        rounds.append((time.perf_counter() - started, len(group or ())))
    pipe.send(rounds)
    barrier.wait(120.0)
    averaging.shutdown()
    dht.shutdown()


def quiet() -> None:
    """Only errors."""
    warnings.simplefilter("ignore")
    logging.getLogger("flwr").setLevel(logging.ERROR)


if __name__ == "__main__":
    main()
