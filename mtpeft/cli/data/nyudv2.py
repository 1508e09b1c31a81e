"""``mtpeft data nyudv2``."""

import argparse
import sys
from hashlib import blake2b
from pathlib import Path

import cv2
import numpy as np
from mmengine.utils import ProgressBar

from mtpeft.cli.config_arguments import positive
from mtpeft.datasets.export_folder import open_export_folder
from mtpeft.datasets.nyudv2 import (
    LabeledFile,
    Picture,
    boundaries,
    class_table,
    close_rims,
    normals_from_depth,
    read_splits,
)
from mtpeft.datasets.nyudv2.classes import REST
from mtpeft.datasets.scenes.export import Files, jpeg, npy, png, write_picture, write_splits

DESCRIPTION = """Build the NYUD_MT folder layout from the original files of NYU Depth V2.

    mtpeft data nyudv2 nyu_depth_v2_labeled.mat splits.mat data/NYUD_MT \
        --class-mapping classMapping40.mat

Pictures and depth are NYU's; the 40 classes come from the mapping; normals and edges are computed
(docs/data_preparation.md says how well). Reads one picture at a time. A run that was stopped goes
on where it was; a folder with anything else in it is refused.
"""

MARKER = 'nyudv2.json'
VERSION = 1
"""Raise it when the same options give other files."""
PATHS = (
    'images/{id}.jpg', 'segmentation/{id}.png', 'depth/{id}.npy', 'normals/{id}.npy',
    'edge/{id}.npy',
)  # fmt: skip
CROPS = {
    'benchmark': (slice(45, 470), slice(40, 600)),
    'border': (slice(8, 472), slice(8, 632)),
    'none': (slice(None), slice(None)),
}
"""Rows and columns of the frame that are kept."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('labeled', type=Path, help='nyu_depth_v2_labeled.mat')
    parser.add_argument('splits', type=Path, help='splits.mat')
    parser.add_argument('out', type=Path, help='folder to write, e.g. data/NYUD_MT')
    parser.add_argument(
        '--class-mapping', type=Path, metavar='FILE',
        help='classMapping40.mat of the 40-class toolbox, or a .json {"name": 1..40}',
    )  # fmt: skip
    parser.add_argument(
        '--rest', choices=list(REST), help='what names without a class become (default: an error)'
    )
    parser.add_argument(
        '--crop', choices=list(CROPS), default='benchmark',
        help='benchmark: 425 x 560 as in the usual archive (default); border: 464 x 624, only the '
        'white border is cut; none: 480 x 640',
    )  # fmt: skip
    parser.add_argument(
        '--size', type=positive, nargs=2, metavar=('HEIGHT', 'WIDTH'), help='resize after the crop'
    )
    parser.add_argument('--limit', type=positive, help='only the first N pictures of each split')


def run(args: argparse.Namespace) -> int:
    try:
        convert(args)
    except (OSError, ValueError, ImportError) as error:
        print(f'{type(error).__name__}: {error}', file=sys.stderr)
        return 1
    return 0


def picture_files(
    picture: Picture, name: str, table: np.ndarray, crop: str, size: tuple[int, int] | None
) -> Files:
    """Path and contents of every file of a picture.

    Normals and the closing of rims see the whole frame, then everything is cropped and resized:
    the picture by area, labels, depth and normals to the nearest pixel, which mixes no two
    surfaces. Edges are drawn last, so that they are one pixel wide at any size.
    """
    rows, columns = CROPS[crop]

    def fit(array: np.ndarray) -> np.ndarray:
        return nearest(array[rows, columns], size)

    def image() -> np.ndarray:
        cropped = np.ascontiguousarray(picture.image[rows, columns])
        if size is None:
            return cropped
        return cv2.resize(cropped, (size[1], size[0]), interpolation=cv2.INTER_AREA)

    contents = (
        lambda: jpeg(image()),
        lambda: png(fit(table[picture.labels])),
        lambda: npy(fit(picture.depth)),
        lambda: npy(fit(normals_from_depth(picture.depth))),
        lambda: npy(boundaries(fit(close_rims(picture.regions)))),
    )
    return dict(zip(paths(name), contents, strict=True))


def paths(name: str) -> list[str]:
    """The files of a picture."""
    return [pattern.format(id=name) for pattern in PATHS]


def nearest(array: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """``array`` resized to ``size``, every pixel the one under its centre."""
    if size is None:
        return np.ascontiguousarray(array)
    rows, columns = (
        ((np.arange(new) + 0.5) * (old / new)).astype(int)
        for new, old in zip(size, array.shape[:2], strict=True)
    )
    return np.ascontiguousarray(array[rows][:, columns])


def convert(args: argparse.Namespace) -> None:
    with LabeledFile(args.labeled) as source:
        splits = read_splits(args.splits, len(source))
        table = class_table(source.names, args.class_mapping, args.rest)
        options = dict(
            version=VERSION, source_bytes=args.labeled.stat().st_size, pictures=len(source),
            classes=blake2b(table.tobytes(), digest_size=8).hexdigest(), crop=args.crop,
            size=args.size,
        )  # fmt: skip
        open_export_folder(args.out, MARKER, options)
        splits = {split: indices[: args.limit] for split, indices in splits.items()}
        bar = ProgressBar(sum(map(len, splits.values())))
        for split, indices in splits.items():
            names = [f'{index + 1:04d}' for index in indices]
            for index, name in zip(indices, names, strict=True):
                if not all((args.out / file).is_file() for file in paths(name)):
                    picture = source.picture(index)
                    files = picture_files(picture, name, table, args.crop, args.size)
                    write_picture(args.out, files)
                bar.update()
            write_splits(args.out, 'nyud', split, dict.fromkeys(names, []))
    known = np.count_nonzero(table)
    print(
        f'\n{" + ".join(str(len(indices)) for indices in splits.values())} pictures in '
        f"'{args.out}'; {known} of {len(table) - 1} names have a class."
    )
