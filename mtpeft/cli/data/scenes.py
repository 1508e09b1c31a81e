"""``mtpeft data scenes``."""

import argparse
import sys
from pathlib import Path

from mmengine.utils import ProgressBar

from mtpeft.cli.config_arguments import positive
from mtpeft.datasets.export_folder import open_export_folder
from mtpeft.datasets.scenes import TEXTURE_SETS, SceneSource
from mtpeft.datasets.scenes.export import LAYOUTS, object_classes, write_picture, write_splits
from mtpeft.datasets.scenes.source import renderer_digest

DESCRIPTION = """Write procedural scenes in the PASCAL_MT or NYUD_MT folder layout.

    mtpeft data scenes data/PASCAL_MT --layout pascal --train 400 --val 100 --size 128 128

The result stands in for the real data: every config of PASCALContextMT or NYUDMT runs on it.
Training pictures are those of ScenesMT(seed=S), validation pictures those of ScenesMT(seed=S + 1).
A run that was stopped goes on where it was; a folder with anything else in it is refused.
"""

MARKER = 'scenes_export.json'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('out', type=Path, help='folder to write, e.g. data/PASCAL_MT')
    parser.add_argument('--layout', choices=list(LAYOUTS), required=True)
    parser.add_argument('--train', type=positive, default=400, help='training pictures')
    parser.add_argument('--val', type=positive, default=100, help='validation pictures')
    parser.add_argument(
        '--size', type=positive, nargs=2, default=(128, 128), metavar=('HEIGHT', 'WIDTH')
    )
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--texture-set', choices=TEXTURE_SETS, default='a')
    parser.add_argument('--supersample', type=int, choices=(1, 2), default=1)


def run(args: argparse.Namespace) -> int:
    try:
        export(args)
    except (OSError, ValueError) as error:
        print(f'{type(error).__name__}: {error}', file=sys.stderr)
        return 1
    return 0


def export(args: argparse.Namespace) -> None:
    options = dict(
        layout=args.layout, size=list(args.size), seed=args.seed, texture_set=args.texture_set,
        supersample=args.supersample, renderer=renderer_digest(),
    )  # fmt: skip
    open_export_folder(args.out, MARKER, options)
    make_files = LAYOUTS[args.layout]
    bar = ProgressBar(args.train + args.val)
    for split, count, seed in (('train', args.train, args.seed), ('val', args.val, args.seed + 1)):
        source = SceneSource(tuple(args.size), seed, args.texture_set, args.supersample)
        classes = {}
        for index in range(count):
            img_id = f'scene{seed:03d}_{index:06d}'
            rendering = source.render(index)
            write_picture(args.out, make_files(rendering, img_id))
            classes[img_id] = object_classes(rendering)
            bar.update()
        write_splits(args.out, args.layout, split, classes)
    print(f"\n{args.train} + {args.val} pictures in '{args.out}' ({args.layout} layout).")
