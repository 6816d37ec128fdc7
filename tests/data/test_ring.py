import numpy as np

from marl.data.ring import Ring


def test_rows_arrive_in_order_and_the_oldest_are_lost_first():
    rows, count = np.zeros((4, 2)), np.zeros(1, np.int64)
    reader, writer = Ring(rows, count), Ring(rows, count)
    writer.write(np.array([[1.0, 1], [2, 2], [3, 3]]))
    assert reader.drain()[:, 0].tolist() == [1, 2, 3]
    writer.write(np.array([[4.0, 4], [5, 5], [6, 6]]))
    writer.write(np.array([[7.0, 7], [8, 8]]))
    assert reader.drain()[:, 0].tolist() == [5, 6, 7, 8]
    assert len(reader.drain()) == 0
