"""A traffic light at one crossing, simulated by SUMO within this process (libsumo).

The net is made by SUMO's own netgenerate when the first crossing is made: four roads of two lanes. Cars come by
chance, on every road with its own frequency. An action says which pair of opposite roads has green.
"""

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Box, Discrete

from marl.errors import EnvironmentFault

NAME = "SumoCrossing-v0"
ROADS = ("top0", "right0", "bottom0", "left0")
LANES = tuple(f"{road}A0_{lane}" for road in ROADS for lane in range(2))
LIGHT = "A0"
ROAD_M = 200
ROOM = 26.0  # cars that stand on one lane
GREEN = (0, 2)  # of the light's phases; after each comes its yellow one
YELLOW_S, STEP_S = 3, 5
EPISODE_STEPS = 360  # half an hour

Array = npt.NDArray[np.float32]


def register() -> None:
    """Let gymnasium know the crossing."""
    if NAME not in gymnasium.registry:
        gymnasium.register(NAME, entry_point=f"{__name__}:Crossing", max_episode_steps=EPISODE_STEPS)


class Crossing(gymnasium.Env[Array, Any]):
    """Observations: of each lane the cars and those that stand, as parts of a full lane; which pair has green; for how
    long. Rewards: minus the cars that stand or wait to come in, divided by 10, on average over the step.
    """

    metadata = {"render_modes": []}  # noqa: RUF012
    _running: "Crossing | None" = None  # SUMO has one simulation in a process

    def __init__(self, cars_per_s: Sequence[float] = (0.15, 0.15, 0.15, 0.15), render_mode: None = None) -> None:
        """``cars_per_s``: that come on each road, clockwise from the north."""
        rates = np.asarray(cars_per_s, float)
        if rates.shape != (4,) or not ((rates >= 0) & (rates <= 1)).all():
            raise EnvironmentFault(
                f"{NAME}: expected cars_per_s to be 4 numbers from 0 to 1, one for each road, got {cars_per_s!r}"
            )
        self._rates = rates
        self.observation_space = Box(0.0, np.inf, (2 * len(LANES) + 3,), np.float32)
        self.action_space = Discrete(2)
        self.render_mode = render_mode
        self._net = net()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """An empty crossing."""
        import libsumo

        super().reset(seed=seed)
        if Crossing._running not in (None, self):
            raise EnvironmentFault(f"{NAME}: SUMO has one simulation in a process, and another is running")
        words = ["-n", self._net, "--no-step-log", "--no-warnings", "--time-to-teleport", "-1"]
        words += ["--seed", str(int(self.np_random.integers(1 << 31)))]
        if Crossing._running is self:
            libsumo.load(words)
        else:
            libsumo.start(["sumo", *words])
            Crossing._running = self
        for start in ROADS:
            for end in ROADS:
                if start != end:
                    libsumo.route.add(f"{start}-{end}", [f"{start}A0", f"A0{end}"])
        self._cars, self._pair, self._since = 0, 0, 0
        libsumo.trafficlight.setPhase(LIGHT, GREEN[0])
        return self._observation(), {}

    def step(self, action: Any) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Five seconds with green for a pair of roads; the first three are yellow where the pair changes."""
        import libsumo

        wanted, waiting = int(action), 0
        changes = wanted != self._pair
        for second in range(STEP_S):
            phase = GREEN[self._pair] + 1 if changes and second < YELLOW_S else GREEN[wanted]
            libsumo.trafficlight.setPhase(LIGHT, phase)
            self._let_come()
            libsumo.simulationStep()
            standing = sum(libsumo.lane.getLastStepHaltingNumber(lane) for lane in LANES)
            waiting += standing + len(libsumo.simulation.getPendingVehicles())
        self._since = 0 if changes else self._since + STEP_S
        self._pair = wanted
        return self._observation(), -waiting / STEP_S / 10, False, False, {}

    def close(self) -> None:
        """End the simulation."""
        if Crossing._running is self:
            import libsumo

            libsumo.close()
            Crossing._running = None

    def _let_come(self) -> None:
        import libsumo

        for road in np.flatnonzero(self.np_random.random(4) < self._rates):
            others = [each for each in ROADS if each != ROADS[road]]
            end = others[int(self.np_random.integers(3))]
            libsumo.vehicle.add(f"car{self._cars}", f"{ROADS[road]}-{end}", departLane="best", departSpeed="max")
            self._cars += 1

    def _observation(self) -> Array:
        import libsumo

        cars = [libsumo.lane.getLastStepVehicleNumber(lane) / ROOM for lane in LANES]
        standing = [libsumo.lane.getLastStepHaltingNumber(lane) / ROOM for lane in LANES]
        pair = [float(self._pair == 0), float(self._pair == 1)]
        return np.array([*cars, *standing, *pair, self._since / 60], np.float32)


def net() -> str:
    """The file of the crossing; where there is none, it is made in the user's cache.

    Raises:
        EnvironmentFault: netgenerate failed, or there is no place for the file.
    """
    import libsumo
    import sumo

    version = libsumo.simulation.getVersion()[1].replace(" ", "-")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "marl"
    file = cache / f"crossing-{version}.net.xml"
    if file.is_file():
        return os.fspath(file)
    grid = ("--grid", "--grid.x-number", "1", "--grid.y-number", "1", "--grid.attach-length", str(ROAD_M))
    command = [str(Path(sumo.SUMO_HOME) / "bin" / "netgenerate"), *grid, "-L", "2", "--tls.set", LIGHT]
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            made = Path(folder) / file.name
            subprocess.run(
                [*command, "--no-turnarounds", "-o", str(made)], check=True, capture_output=True, text=True, timeout=60
            )
            made.replace(file)  # at once: several processes may make it
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        raise EnvironmentFault(f"{NAME}: its net could not be made in {cache}: {said.strip():.300}") from error
    return os.fspath(file)
