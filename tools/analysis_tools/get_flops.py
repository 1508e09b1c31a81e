"""Count the multiply-adds of a config's inference, by part, merged and not.

One picture is predicted for all tasks at once. Matrix products and convolutions are counted; norms,
activations, resampling and Fourier transforms are not. A multiply-add is two floating-point
operations. Pretrained weights are not needed. Times are measured by benchmark.py, parameters are
counted by get_params.py.
"""

import argparse
import json

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from torch import nn

from mtpeft.apis.read_config import read_config
from mtpeft.apis.segmentor import build_model, merge_parts
from mtpeft.benchmark import multiply_adds, part_operations
from mtpeft.benchmark.batch import channels_of
from mtpeft.benchmark.steps import inference
from mtpeft.benchmark.variants import with_size
from mtpeft.cli.config_arguments import add_config_arguments
from mtpeft.models.backbones import AdapterBackbone
from mtpeft.registry import MODELS
from mtpeft.utils.tables import table

_DEFAULT = (448, 448)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='path or name of the config')
    parser.add_argument(
        '--size', type=int, nargs=2, metavar=('H', 'W'),
        help='of the picture; default: what the config is for, else 448 448',
    )  # fmt: skip
    parser.add_argument('--json', action='store_true', help='print JSON only')
    add_config_arguments(parser, leave_out=('size',))
    args = parser.parse_args()
    if args.size and min(args.size) < 1:
        parser.error(f'--size {args.size[0]} {args.size[1]}: expected a height and a width, 1 or '
                     'more')  # fmt: skip
    return args


def count(cfg: Config, size: tuple[int, int] | None = None) -> dict:
    """``size``, ``parts`` and ``merged`` (by part), and ``frozen``: of the bare network.

    ``merged`` is ``None`` of a model without adapters of ours, ``frozen`` of one whose
    backbone is no ``AdapterBackbone``.
    """
    size = tuple(size or cfg.model.get('img_size') or cfg.get('size') or _DEFAULT)
    cfg = with_size(cfg, size)
    model = build_model(cfg).eval()
    inputs = torch.zeros(1, channels_of(model), *size)
    parts = part_operations(model, inputs)
    frozen = _frozen(cfg, model, inputs)
    merged = part_operations(model, inputs) if _merges(model) else None
    return dict(size=size, parts=parts, merged=merged, frozen=frozen)


def _merges(model: nn.Module) -> bool:
    """Merge the adapters, where there are any."""
    try:
        merge_parts(model)
    except ValueError:
        return False
    return True


def _frozen(cfg: Config, model: nn.Module, inputs: torch.Tensor) -> int | None:
    if not isinstance(getattr(model, 'backbone', None), AdapterBackbone):
        return None
    plain = dict(type='AdapterBackbone', backbone=cfg.model.backbone.backbone)
    return multiply_adds(inference(MODELS.build(plain), inputs))


def report(counts: dict) -> str:
    """The counts as a table, in millions."""
    columns = [counts['parts']] + ([counts['merged']] if counts['merged'] else [])
    names = list({name: None for column in columns for name in column})
    rows = [[name, *(_millions(column.get(name, 0)) for column in columns)] for name in names]
    rows.append(['all', *(_millions(sum(column.values())) for column in columns)])
    if counts['frozen'] is not None:
        rows.append(['the network without adapters', _millions(counts['frozen']),
                     *[''] * (len(columns) - 1)])  # fmt: skip
    header = ['M multiply-adds', 'with adapters', 'merged'][: 1 + len(columns)]
    return table(header, rows) + f'\nOne picture of {counts["size"][0]} x {counts["size"][1]}.'


def _millions(number: int) -> str:
    return f'{number / 1e6:,.1f}'


def main() -> None:
    args = parse_args()
    # the table of adapted layers would go to the standard output
    MMLogger.get_instance('get_flops', log_level='ERROR')
    counts = count(read_config(args), args.size)
    print(json.dumps(counts, indent=2) if args.json else report(counts))


if __name__ == '__main__':
    main()
