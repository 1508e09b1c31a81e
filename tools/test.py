"""Evaluate a checkpoint on the test set of a config."""

import argparse
import json
import os
from pathlib import Path

from mmengine.dist import is_main_process

from mtpeft.apis import build_runner
from mtpeft.apis.read_config import add_config_arguments, read_config
from mtpeft.utils.dist import LAUNCHERS, end_distributed


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='path of the config')
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
    parser.add_argument('--launcher', choices=LAUNCHERS, default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    args = parser.parse_args()
    if args.no_input and not args.show_dir:
        parser.error(
            '--no-input is about the drawings of --show-dir, which is not given. For the grid in '
            'the work dir: --cfg-options default_hooks.visualization.draw_input=False'
        )
    return args


def main() -> None:
    args = parse_args()
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
    metrics = runner.test()
    if args.out and is_main_process():
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(metrics, indent=2, default=float)
        Path(args.out).write_text(text + '\n', encoding='utf-8')


if __name__ == '__main__':
    main()
    end_distributed()
