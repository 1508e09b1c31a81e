"""``mtpeft test``."""

import argparse

from mtpeft.cli.config_arguments import add_config_arguments, add_launcher_arguments

DESCRIPTION = 'Evaluate a checkpoint on the test set of a config.'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', help='path or name of the config')
    parser.add_argument('checkpoint', help='path of the checkpoint')
    parser.add_argument('--work-dir', help='folder of logs')
    parser.add_argument('--out', help='write the metrics to this JSON file')
    parser.add_argument(
        '--show-dir', help='write a drawing of every picture (input, truth, prediction) there'
    )
    parser.add_argument(
        '--no-input', action='store_true',
        help='leave the photographs out of the drawings of --show-dir, e.g. to publish them',
    )  # fmt: skip
    add_config_arguments(parser, example='test_dataloader.batch_size=2')
    add_launcher_arguments(parser)


def run(args: argparse.Namespace) -> None:
    from mtpeft.utils.dist import end_distributed

    if args.no_input and not args.show_dir:
        raise SystemExit(
            '--no-input is about the drawings of --show-dir, which is not given. For the grid in '
            'the work dir: --cfg-options default_hooks.visualization.draw_input=False'
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

    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = read_config(args)
    if args.show_dir:
        hook = dict(
            type='mtpeft.SavePredictionsHook', out_dir=args.show_dir, draw_input=not args.no_input
        )
        cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), hook]
    runner = build_runner(
        cfg, work_dir=args.work_dir, checkpoint=args.checkpoint, launcher=args.launcher
    )
    print_first_screen(runner, 'test')
    metrics = runner.test()
    if args.out and is_main_process():
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(metrics, indent=2, default=float)
        Path(args.out).write_text(text + '\n', encoding='utf-8')
