"""``mtpeft params``."""

import argparse
import json

from mmengine.config import Config

from mtpeft.cli.config_arguments import add_config_arguments
from mtpeft.utils.tables import table

DESCRIPTION = """Count the parameters of a config's model by what they are for.

The model is built without its pretrained weights, so no network is needed. With a checkpoint,
'effective' counts leave out the components of adapters that were pruned in training.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', help='path or name of the config')
    parser.add_argument('checkpoint', nargs='?', help='count after loading this checkpoint')
    parser.add_argument('--json', action='store_true', help='print JSON only')
    add_config_arguments(parser)


def run(args: argparse.Namespace) -> None:
    from mmengine.logging import MMLogger

    from mtpeft.apis.read_config import read_config

    if args.json:
        # the table of adapted layers would go to the standard output
        MMLogger.get_instance('get_params', log_level='ERROR')
    cfg = read_config(args)
    counts = count(cfg, args.checkpoint)
    if args.json:
        print(json.dumps(counts, indent=2))
        return
    print(report(counts, with_effective=args.checkpoint is not None))
    if args.checkpoint and counts['mean_rank'] is not None:
        print(f'mean rank of adapters: {counts["mean_rank"]:.2f}')


def count(cfg: Config, checkpoint: str | None = None) -> dict:
    """``trainable``, ``total``, ``decoder`` and ``components`` (trainable, by component).

    ``effective`` and ``effective_components`` are without pruned components of adapters,
    ``mean_rank`` is over all their streams that have an effect.
    """
    from mtpeft.adapters.ranks.patterns import mean_rank_in_use
    from mtpeft.apis.segmentor import build_model
    from mtpeft.checkpoints.files import safe_load
    from mtpeft.checkpoints.model_state import load_checked
    from mtpeft.models import decoder_components, effective_components, parameter_components

    model = build_model(cfg)
    if checkpoint is not None:
        saved = safe_load(checkpoint)
        load_checked(model, saved.get('state_dict', saved), f'Checkpoint {checkpoint}', base=False)
    components, effective = parameter_components(model), effective_components(model)
    return dict(
        trainable=sum(components.values()),
        effective=sum(effective.values()),
        total=sum(parameter.numel() for parameter in model.parameters()),
        decoder=sum(components.get(name, 0) for name in decoder_components),
        components=components,
        effective_components=effective,
        mean_rank=mean_rank_in_use(model),
    )


def report(counts: dict, with_effective: bool) -> str:
    """The counts as a table."""
    sums = {name: counts[name] for name in ('decoder', 'trainable', 'total')}
    header = ['component', 'parameters', '']
    rows = [[name, number, f'{number / 1e6:.3f}M']
            for name, number in (counts['components'] | sums).items()]  # fmt: skip
    if with_effective:
        header.append('effective')
        effective = counts['effective_components'] | dict(trainable=counts['effective'])
        rows = [[*row, effective.get(row[0], '')] for row in rows]
    return table(header, rows)
