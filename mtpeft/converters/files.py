"""The command of a converter: a released file in, a checkpoint of ours out."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor


def run_converter(
    convert: Callable[[Mapping[str, Tensor]], dict[str, Tensor]], name: str, doc: str
) -> None:
    """Convert the file that the command line names.

    Args:
        convert: What renames a released state dict.
        name: The released code, for the file's ``meta``.
        doc: Description for ``--help``.

    Raises:
        SystemExit: the file is not there or cannot be read safely.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('source', metavar='IN', help='released checkpoint (.pth)')
    parser.add_argument('target', metavar='OUT', help='file to write (.pth)')
    args = parser.parse_args()
    state = convert(read_released(args.source))
    Path(args.target).parent.mkdir(parents=True, exist_ok=True)
    torch.save({'state_dict': state, 'meta': {'converted_from': name}}, args.target)
    print(f'{len(state)} tensors written to {args.target}')


def read_released(path: str | Path) -> Mapping[str, Tensor]:
    """The state dict in a file, which may lie under ``'model'`` or ``'state_dict'``.

    Raises:
        SystemExit: the file is not there or cannot be read without running code in it.
    """
    if not Path(path).is_file():
        raise SystemExit(f"There is no file '{path}'.")
    try:
        data = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:
        raise SystemExit(
            f"'{path}' could not be read without running code in it "
            f'({type(error).__name__}). Save its tensors alone and try again.'
        ) from error
    for key in ('model', 'state_dict'):
        if isinstance(data.get(key), Mapping):
            return data[key]
    return data
