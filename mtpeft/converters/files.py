"""Released files as checkpoints of ours: recognised, converted, and written."""

import argparse
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log

from mtpeft.checkpoints.digest import seal
from mtpeft.checkpoints.files import CheckpointError, name_of, safe_load
from mtpeft.converters.ditask import ditask_to_mtpeft
from mtpeft.converters.kinds import DITASK, MTLORA, STATIC, check_kind, kind_of, released_state
from mtpeft.converters.mtlora import mode_of, mtlora_to_mtpeft
from mtpeft.converters.tadformer import tadformer_to_mtpeft
from mtpeft.utils.atomic import write_or_exit


def converted(checkpoint: Mapping[str, Any], kind: str | None = None) -> dict[str, Any] | None:
    """A released checkpoint as one of ours; ``None`` for a file that is none.

    Args:
        checkpoint: What :func:`~mtpeft.checkpoints.files.safe_load` gave.
        kind: The released code that it has to be of. Default: any.

    Raises:
        CheckpointError: it is of released code, and cannot be converted.

    Example:
        >>> converted(dict(state_dict={'backbone.network.norm.weight': torch.ones(2)})) is None
        True
    """
    state = released_state(checkpoint)
    found = kind_of(state)
    if not found and kind is None:
        return None
    settings = checkpoint.get('config')
    try:
        if kind is not None or found == STATIC:
            check_kind(state, kind or 'TADFormer')
        if found == MTLORA:
            weights = mtlora_to_mtpeft(state, settings)
        else:
            weights = (
                ditask_to_mtpeft(state)
                if found == DITASK
                else tadformer_to_mtpeft(state, settings=settings)
            )
    except ValueError as error:
        raise CheckpointError(f'{name_of(checkpoint)}: {error}') from error
    if found == MTLORA and mode_of(settings) != 'matrix':
        mode = mode_of(settings)
        print_log(
            f"{name_of(checkpoint)} was trained with SHARED_MODE '{mode}': its numbers need "
            f"mode='{mode}' in the cfg of the plugins.", logger='current', level=30,
        )  # fmt: skip
    tasks = dict.fromkeys(k.split('.')[1] for k in state if k.startswith('downsampler.'))
    return dict(state_dict=weights, meta=dict(converted_from=found, tasks=list(tasks)))


def run_converter(kind: str, doc: str) -> None:
    """The command of a converter: convert the file that the command line names.

    Args:
        kind: The released code.
        doc: Description for ``--help``.

    Raises:
        SystemExit: the file is not there, cannot be read safely, or is of another code.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('source', metavar='IN', help='released checkpoint (.pth)')
    parser.add_argument('target', metavar='OUT', help='file to write (.pth)')
    args = parser.parse_args()
    try:
        ours = converted(safe_load(args.source), kind)
        seal(ours, f'{args.source} has them.')
    except (FileNotFoundError, CheckpointError) as error:
        raise SystemExit(str(error)) from error
    with io.BytesIO() as buffer:
        torch.save(ours, buffer)
        write_or_exit(buffer.getvalue(), Path(args.target))
    print(f'{len(ours["state_dict"])} tensors written to {args.target}')
