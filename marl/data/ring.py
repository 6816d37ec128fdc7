"""A ring of rows in shared memory with one writer and one reader, and no lock that a killed writer could hold."""

import numpy as np
import numpy.typing as npt


class Ring:
    """Rows of float64 that one worker appends and the main process drains.

    ``count`` is how many rows were ever written. The writer fills the rows first and moves ``count`` last, so a
    reader never sees a row that is not there; a reader that falls behind by more than the ring's length loses the
    oldest rows.
    """

    def __init__(self, rows: npt.NDArray[np.float64], count: npt.NDArray[np.int64]) -> None:
        self._rows = rows  # [capacity, columns]
        self._count = count  # [1]
        self._read = int(count[0])

    def write(self, rows: npt.NDArray[np.float64]) -> None:
        """Append rows [N, columns]; N may not exceed the capacity."""
        start = int(self._count[0])
        places = (start + np.arange(len(rows))) % len(self._rows)
        self._rows[places] = rows
        self._count[0] = start + len(rows)

    def drain(self) -> npt.NDArray[np.float64]:
        """All rows written since the last call, oldest first."""
        end, capacity = int(self._count[0]), len(self._rows)
        start = max(self._read, end - capacity)
        self._read = end
        return self._rows[np.arange(start, end) % capacity]
