"""Colours and class names of the built-in tasks."""

HUMAN_PARTS = (
    'background', 'head', 'torso', 'upper arms', 'lower arms', 'upper legs', 'lower legs',
)  # fmt: skip


def class_palette(num_classes: int) -> list[tuple[int, int, int]]:
    """RGB colours by the bit pattern of the class index, as PASCAL VOC draws them.

    Bit ``3 k + c`` of the index sets bit ``7 - k`` of channel ``c``; class 0 is black.
    """
    return [
        tuple(sum(((index >> (3 * k + c)) & 1) << (7 - k) for k in range(8)) for c in range(3))
        for index in range(num_classes)
    ]
