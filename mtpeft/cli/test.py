"""``mtpeft test``."""

import argparse

from mtpeft.cli.config_arguments import add_config_arguments, add_launcher_arguments

DESCRIPTION = """Evaluate a checkpoint on the test set of a config.

Printed are the metrics of each task, and of tasks of classes the IoU of each class. --out writes
the same as JSON, with confusion matrices and the score of each picture under the key "details";
--details writes tables and pictures.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', help='path or name of the config')
    parser.add_argument('checkpoint', help='path of the checkpoint')
    parser.add_argument('--work-dir', help='folder of logs')
    parser.add_argument(
        '--out', help='write the metrics, and under "details" classes and pictures, to this JSON'
    )
    parser.add_argument(
        '--details', metavar='DIR',
        help='write tables of classes, confusion matrices, scores of pictures, and the worst and '
             'best pictures of each task with maps of their errors there',
    )  # fmt: skip
    parser.add_argument(
        '--worst', type=int, default=5, metavar='K',
        help='how many of the worst and of the best pictures are listed and drawn (5)',
    )  # fmt: skip
    parser.add_argument(
        '--show-dir', help='write a drawing of every picture (input, truth, prediction) there'
    )
    parser.add_argument(
        '--no-input', action='store_true',
        help='leave the photographs out of the drawings of --show-dir and --details, e.g. to '
             'publish them',
    )  # fmt: skip
    add_config_arguments(parser, example='test_dataloader.batch_size=2')
    add_launcher_arguments(parser)


def run(args: argparse.Namespace) -> None:
    from mtpeft.utils.dist import end_distributed

    if args.worst < 1:
        raise SystemExit(f'--worst {args.worst}: expected a number of pictures, 1 or more.')
    if args.no_input and not args.show_dir and not args.details:
        raise SystemExit(
            '--no-input is about the drawings of --show-dir and --details, none of which is given. '
            'For the grid in the work dir: --cfg-options '
            'default_hooks.visualization.draw_input=False'
        )
    _test(args)
    end_distributed()


def _test(args: argparse.Namespace) -> None:
    import json
    import os
    from pathlib import Path

    from mmengine.dist import is_main_process

    from mtpeft.apis import build_runner
    from mtpeft.apis.read_config import read_config
    from mtpeft.cli.first_screen import print_first_screen
    from mtpeft.hooks import DetailsHook

    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = read_config(args)
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), *_hooks(args)]
    runner = build_runner(
        cfg, work_dir=args.work_dir, checkpoint=args.checkpoint, launcher=args.launcher
    )
    print_first_screen(runner, 'test')
    metrics = runner.test()
    if args.out and is_main_process():
        hook = [hook for hook in runner.hooks if isinstance(hook, DetailsHook)][-1]
        found = dict(metrics) if hook.report is None else dict(metrics, details=hook.report)
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(found, indent=2, default=float)
        Path(args.out).write_text(text + '\n', encoding='utf-8')


def _hooks(args: argparse.Namespace) -> list[dict]:
    draw_input = not args.no_input
    hooks = [dict(type='mtpeft.DetailsHook', out_dir=args.details, number=args.worst,
                  draw_input=draw_input)]  # fmt: skip
    if args.show_dir:
        hooks.append(dict(type='mtpeft.SavePredictionsHook', out_dir=args.show_dir,
                          draw_input=draw_input))  # fmt: skip
    return hooks
