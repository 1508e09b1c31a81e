"""PASCAL-Part annotations to the six part groups of the multi-task benchmark."""

from pathlib import Path

import numpy as np

from mtpeft.datasets.errors import DataFileError
from mtpeft.datasets.files import read_mat
from mtpeft.utils.suggest import hint

PERSON = 15
"""PASCAL VOC's class id of a person."""

_GROUPS = {
    1: 'head leye reye lear rear lebrow rebrow nose mouth hair',
    2: 'torso neck',
    3: 'luarm ruarm',
    4: 'llarm rlarm lhand rhand',
    5: 'luleg ruleg',
    6: 'llleg rlleg lfoot rfoot',
}
PART_GROUPS = {part: group for group, parts in _GROUPS.items() for part in parts.split()}
"""Group (1 head, 2 torso, 3 upper arms, 4 lower arms, 5 upper legs, 6 lower legs) by part name."""


def read_human_parts(path: str | Path) -> np.ndarray | None:
    """Part groups of the persons in a PASCAL-Part file.

    Args:
        path: A ``.mat`` file with ``anno`` of PASCAL-Part (Chen et al., arXiv 1406.2031).

    Returns:
        ``(H, W)`` uint8, 0 = background, 1..6 = group; ``None`` where no person has parts.

    Raises:
        FileNotFoundError, DataFileError: the file is missing, damaged, or has other contents.
    """
    anno = read_mat(path, 'anno')
    try:
        objects = anno[0][0][1][0]
        persons = [o for o in objects if int(o[1][0][0]) == PERSON and o[3].size]
        parts = [
            (str(part[0][0]), np.asarray(part[1]).astype(bool, copy=False))
            for person in persons for part in person[3][0]
        ]  # fmt: skip
    except (IndexError, TypeError, ValueError) as error:
        raise DataFileError(
            f'{path}: expected anno[0][0][1][0] to list objects (name, class id, mask, parts) as '
            f'PASCAL-Part does, got something else ({type(error).__name__}: {error}).'
        ) from error
    return _merge(parts, path) if parts else None


def _merge(parts: list[tuple[str, np.ndarray]], path: str | Path) -> np.ndarray:
    # in the order of MATLAB, column by column, as the masks are
    target = np.zeros(parts[0][1].shape, np.uint8, order='F')
    for name, mask in parts:
        if name not in PART_GROUPS:
            raise DataFileError(
                f"{path}: '{name}' is not a part of a person. " + hint(name, PART_GROUPS)
            )
        if mask.shape != target.shape:
            raise DataFileError(
                f"{path}: the mask of '{name}' is {mask.shape}, others are {target.shape}."
            )
        np.copyto(target, PART_GROUPS[name], where=mask, casting='unsafe')
    return np.ascontiguousarray(target)
