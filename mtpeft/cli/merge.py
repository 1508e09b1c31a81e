"""``mtpeft merge``."""

import argparse
from pathlib import Path

DESCRIPTION = """Write a trained model for inference: its adapters in the weights, not beside them.

Shared adapters are folded into the backbone, task lanes become a weight for each task, a shared
base of the heads a convolution for each task, and BatchNorms go into the convolutions before them;
what is no change of a weight stays as it is. The table says what became of each layer. OUT is the
whole model with its base and its config. `mtpeft.from_pretrained` loads it alone, `init_model` as
any checkpoint beside the same CONFIG. It cannot be trained.

--tasks keeps some tasks only, which makes the file smaller. Where tasks read one another (XT-Cons,
task tokens and prompts in the network), none can be left out: keep all and ask for some at run
time.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', metavar='CONFIG', help='config of the trained model')
    parser.add_argument('checkpoint', metavar='CKPT', help='its checkpoint')
    parser.add_argument('target', metavar='OUT', help='file to write (.safetensors)')
    parser.add_argument('--tasks', nargs='+', metavar='TASK', help='keep these tasks only')
    parser.add_argument('--force', action='store_true', help='replace OUT if it exists')


def run(args: argparse.Namespace) -> None:
    import torch

    with torch.no_grad():
        _merge(args)


def _merge(args: argparse.Namespace) -> None:
    from mtpeft.apis import init_model
    from mtpeft.apis.merged_file import is_merged, merged_state
    from mtpeft.apis.read_config import load_config
    from mtpeft.checkpoints.digest import safetensors_bytes
    from mtpeft.checkpoints.files import CheckpointError, safe_load
    from mtpeft.utils.atomic import write_or_exit
    from mtpeft.version import __version__

    source, target = Path(args.checkpoint), Path(args.target)
    if target.suffix != '.safetensors':
        raise SystemExit(f'{target}: merged models are safetensors files, name it *.safetensors.')
    if target.exists() and not args.force:
        raise SystemExit(f'{target} exists. Give another name, or --force to replace it.')
    try:
        cfg = load_config(args.config)
        if is_merged(safe_load(source)):
            raise SystemExit(f'{source} is merged already. Give the checkpoint of the training.')
        _, state, meta = merged_state(cfg, init_model(cfg, source), args.tasks)
        meta |= dict(version=__version__, source=source.name)
        data = safetensors_bytes(state, meta, f'Merging {source} made them.')
    except (FileNotFoundError, CheckpointError, ValueError) as error:
        raise SystemExit(str(error)) from error
    except KeyError as error:
        raise SystemExit(error.args[0]) from error
    write_or_exit(data, target)
    numbers = sum(value.numel() for value in state.values())
    print(f'{len(state)} tensors, {numbers:,} numbers, {target.stat().st_size:,} bytes '
          f'written to {target}; tasks: {", ".join(meta["tasks"]) or "one"}')  # fmt: skip
