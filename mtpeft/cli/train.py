"""``mtpeft train``."""

import argparse
from typing import TYPE_CHECKING

from mtpeft.cli.config_arguments import add_config_arguments, add_launcher_arguments

if TYPE_CHECKING:
    from mmengine.runner import Runner

    from mtpeft.hooks import SpareCheckpointHook

DESCRIPTION = 'Train the model of a config.'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', help='path or name of the config')
    parser.add_argument('--work-dir', help='folder of logs and checkpoints')
    parser.add_argument(
        '--resume', nargs='?', const='auto', default=False, metavar='CKPT',
        help='go on from CKPT, or from the last checkpoint in the work dir (auto, the default)',
    )  # fmt: skip
    parser.add_argument(
        '--load-from', metavar='CKPT', help='start from these weights (load_from of the config)'
    )
    parser.add_argument(
        '--partial', action='store_true',
        help='CKPT is of another model: keep what fits, and list in the log what starts anew '
             '(other tasks or classes need no such word)',
    )  # fmt: skip
    parser.add_argument('--amp', action='store_true', help='train in mixed precision')
    parser.add_argument(
        '--auto-scale-lr', action='store_true',
        help='scale the learning rate to the batch of all processes',
    )  # fmt: skip
    parser.add_argument('--seed', type=int, help="seed, over the config's randomness.seed")
    parser.add_argument(
        '--deterministic', action='store_true', help='refuse algorithms that vary from run to run'
    )
    parser.add_argument(
        '--compile', nargs='?', const=True, default=False, metavar='BACKEND',
        help='torch.compile backbone, necks and decoder (default backend: inductor)',
    )  # fmt: skip
    add_config_arguments(parser, example='train_cfg.max_epochs=5 model.backbone.freeze=False')
    add_launcher_arguments(parser)


def run(args: argparse.Namespace) -> None:
    import os

    from mmengine.device import get_device

    from mtpeft.utils import signals
    from mtpeft.utils.allocator import keep_freed_memory
    from mtpeft.utils.dist import end_distributed

    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    if get_device() == 'cpu':
        keep_freed_memory()
    with signals.watched():
        _train(args)
    end_distributed()


def _train(args: argparse.Namespace) -> None:
    from mmengine.dist import is_distributed

    from mtpeft.cli.first_screen import print_first_screen
    from mtpeft.utils import signals

    runner = None
    try:
        runner = _build(args)
        print_first_screen(runner, 'train')
        runner.train()
    except KeyboardInterrupt:
        raise SystemExit(f'Interrupted{how_to_go_on(runner)}') from None
    except BaseException as error:
        # another process that got the signal earlier may be missed already
        missed = is_distributed() or 'DataLoader worker' in str(error)
        lost = missed and isinstance(error, RuntimeError)
        if not signals.came(patience=5.0 if lost else 0.0):
            raise
        if runner is not None:
            _spare(runner).write(runner)
        signals.leave(f'Ended by SIGTERM{how_to_go_on(runner)}', at_once=is_distributed())


def _build(args: argparse.Namespace) -> 'Runner':
    from mtpeft.apis import build_runner
    from mtpeft.apis.read_config import read_config
    from mtpeft.apis.runner import work_dir_of
    from mtpeft.hooks import SpareCheckpointHook
    from mtpeft.utils.dist import process_number
    from mtpeft.utils.lock import WorkDirBusyError, hold

    cfg = read_config(args)
    work_dir = args.work_dir or work_dir_of(cfg)
    if process_number() == 0:
        # before a second run writes its config over that of the first
        try:
            hold(work_dir)
        except WorkDirBusyError as error:
            raise SystemExit(str(error)) from error
    runner = build_runner(
        cfg, work_dir=work_dir, checkpoint=args.load_from, partial=args.partial,
        resume=args.resume, amp=args.amp, launcher=args.launcher, seed=args.seed,
        deterministic=args.deterministic, compile=args.compile, auto_scale_lr=args.auto_scale_lr,
    )  # fmt: skip
    runner.register_hook(SpareCheckpointHook())
    return runner


def _spare(runner: 'Runner') -> 'SpareCheckpointHook':
    from mtpeft.hooks import SpareCheckpointHook

    return next(hook for hook in runner.hooks if isinstance(hook, SpareCheckpointHook))


def how_to_go_on(runner: 'Runner | None') -> str:
    """The last checkpoint, for the end of a sentence."""
    last = None if runner is None else last_whole(runner)
    if last is None:
        return ' before the first checkpoint.'
    return f'. The last checkpoint is {last}; go on with --resume.'


def last_whole(runner: 'Runner') -> str | None:
    """The checkpoint that --resume would go on from."""
    from mmengine.hooks import CheckpointHook

    from mtpeft.checkpoints.files import CheckpointError
    from mtpeft.checkpoints.work_dir import last_checkpoint

    folder = next((h.out_dir for h in runner.hooks if isinstance(h, CheckpointHook)), None)
    try:
        return last_checkpoint(runner.work_dir, folder)
    except CheckpointError:
        return None
