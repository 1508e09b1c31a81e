"""Reading a ``size`` option."""

from collections.abc import Sequence

Size = int | Sequence[int]


def height_width(size: Size) -> tuple[int, int]:
    """``(height, width)`` from a pair or from one number for both.

    Raises:
        ValueError: not one or two positive integers.

    Example:
        >>> height_width(448)
        (448, 448)
    """
    pair = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) != 2 or any(not isinstance(side, int) or side < 1 for side in pair):
        raise ValueError(
            f'Expected size to be (height, width) in pixels or one positive integer, got {size!r}.'
        )
    return pair
