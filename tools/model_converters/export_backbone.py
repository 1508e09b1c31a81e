"""Write the backbone of a fully trained model as weights that a config can name as pretrained.

    python tools/model_converters/export_backbone.py CONFIG CKPT.pth OUT.safetensors [--task NAME]
        [--half]

The keys are those of the plain network (timm's or mmseg's), adapters of the shared path merged
in; with streams='network', those of one task (--task). With --half, values are stored in half
precision.
"""

import argparse
from pathlib import Path

from mmengine.config import Config
from safetensors.torch import save_file

from mtpeft.apis import init_model


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config of the trained model')
    parser.add_argument('checkpoint', help='its checkpoint')
    parser.add_argument('target', metavar='OUT', help='file to write (.safetensors)')
    parser.add_argument('--task', help="whose network, with streams='network'")
    parser.add_argument('--half', action='store_true', help='store float16')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    model = init_model(Config.fromfile(args.config), args.checkpoint)
    backbone = model.backbone
    state = {
        key: value.detach().half().contiguous() if args.half and value.is_floating_point()
        else value.detach().contiguous()
        for key, value in backbone.merged_state_dict(args.task).items()
        if not key.startswith(backbone.family.unread)
    }  # fmt: skip
    Path(args.target).parent.mkdir(parents=True, exist_ok=True)
    save_file(state, args.target, metadata={'config': Path(args.config).name})
    size = Path(args.target).stat().st_size
    print(f'{len(state)} tensors, {size:,} bytes written to {args.target}')


if __name__ == '__main__':
    main()
