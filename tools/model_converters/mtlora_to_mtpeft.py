"""Convert a checkpoint of the released MTLoRA code to an mtpeft checkpoint.

    python tools/model_converters/mtlora_to_mtpeft.py IN.pth OUT.pth

The result loads into a model of configs/mtlora/*_swin-t_*.py of the same rank and tasks.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import torch

from mtpeft.converters import mtlora_to_mtpeft


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('source', metavar='IN', help='released checkpoint (.pth)')
    parser.add_argument('target', metavar='OUT', help='file to write (.pth)')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if not Path(args.source).is_file():
        raise SystemExit(f"There is no file '{args.source}'.")
    try:
        data = torch.load(args.source, map_location='cpu', weights_only=True)
    except Exception as error:
        raise SystemExit(
            f"'{args.source}' could not be read without running code in it "
            f'({type(error).__name__}). Save its tensors alone and try again.'
        ) from error
    for key in ('model', 'state_dict'):
        if isinstance(data.get(key), Mapping):
            data = data[key]
            break
    state = mtlora_to_mtpeft(data)
    Path(args.target).parent.mkdir(parents=True, exist_ok=True)
    torch.save({'state_dict': state, 'meta': {'converted_from': 'MTLoRA'}}, args.target)
    print(f'{len(state)} tensors written to {args.target}')


if __name__ == '__main__':
    main()
