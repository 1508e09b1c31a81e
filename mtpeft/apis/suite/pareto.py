"""Which methods no other beats in both cost and gain."""

from collections.abc import Sequence

Point = tuple[float, float]


def pareto_front(points: Sequence[Point]) -> list[Point]:
    """The points (cost, gain) that no other equals or beats in both, by rising cost.

    Of points that are equal one is kept.

    Example:
        >>> pareto_front([(1, 0), (2, 5), (3, 4), (4, 6)])
        [(1, 0), (2, 5), (4, 6)]
    """
    front: list[Point] = []
    for cost, gain in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or gain > front[-1][1]:
            front.append((cost, gain))
    return front
