"""Write the backbone of a fully trained model as weights that a config can name as pretrained.

    python tools/model_converters/export_backbone.py CONFIG CKPT.pth OUT.safetensors [--task NAME]
        [--half] [--force]

The keys are those of the plain network (timm's or mmseg's), adapters of the shared path merged
in; with streams='network', those of one task (--task). With --half, values are stored in half
precision.
"""

import argparse
from pathlib import Path

from mtpeft.apis import init_model
from mtpeft.apis.read_config import load_config
from mtpeft.checkpoints.digest import safetensors_bytes
from mtpeft.checkpoints.files import CheckpointError
from mtpeft.utils.atomic import write_or_exit


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config of the trained model')
    parser.add_argument('checkpoint', help='its checkpoint')
    parser.add_argument('target', metavar='OUT', help='file to write (.safetensors)')
    parser.add_argument('--task', help="whose network, with streams='network'")
    parser.add_argument('--half', action='store_true', help='store float16')
    parser.add_argument('--force', action='store_true', help='replace OUT if it exists')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    target = Path(args.target)
    if target.suffix != '.safetensors':
        raise SystemExit(f'Expected OUT to end in .safetensors, got {target}.')
    if target.exists() and not args.force:
        raise SystemExit(f'{target} exists. Give another name, or --force to replace it.')
    model = init_model(load_config(args.config), args.checkpoint)
    backbone = model.backbone
    state = {
        key: value.detach().half().contiguous() if args.half and value.is_floating_point()
        else value.detach().contiguous()
        for key, value in backbone.merged_state_dict(args.task).items()
        if not key.startswith(backbone.family.unread)
    }  # fmt: skip
    try:
        advice = 'Write without --half.' if args.half else ''
        data = safetensors_bytes(state, {'config': Path(args.config).name}, advice)
    except CheckpointError as error:
        raise SystemExit(f'{args.checkpoint}: {error}') from error
    write_or_exit(data, target)
    print(f'{len(state)} tensors, {target.stat().st_size:,} bytes written to {target}')


if __name__ == '__main__':
    main()
