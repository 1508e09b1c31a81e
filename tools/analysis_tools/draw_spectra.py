"""Draw what TS-PD has learnt: spectral filters, and the bands of the consensus.

A filter with a weight a frequency is drawn as a picture, the mean over the channels of its level
with frequency 0 in the middle. Of radial filters there are lines over the radius, and shades that
hold 80 % of the channels. The numbers are printed as tables too.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn

from mtpeft.apis.read_config import read_config
from mtpeft.checkpoints.files import safe_load
from mtpeft.checkpoints.model_state import load_checked
from mtpeft.cli.config_arguments import add_config_arguments
from mtpeft.models.necks import ChannelwiseSpectralFilter, CrossTaskConsensus
from mtpeft.models.necks.spectral_filter import SpectralFilter
from mtpeft.registry import MODELS
from mtpeft.utils.tables import table
from mtpeft.visualization.spectra_picture import SCALARS, draw, gains


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='path of the config')
    parser.add_argument('checkpoint', help='path of the checkpoint')
    parser.add_argument(
        '--out', default='spectra.png', help='picture to write: .png, .pdf or .svg (spectra.png)'
    )
    add_config_arguments(parser)
    return parser.parse_args()


def load(cfg: Config, checkpoint: str) -> nn.Module:
    """The config's model, without its pretrained weights, and the checkpoint in it."""
    init_default_scope(cfg.get('default_scope', 'mtpeft'))
    model = MODELS.build(cfg.model)
    saved = safe_load(checkpoint)
    load_checked(model, saved.get('state_dict', saved), f'Checkpoint {checkpoint}', base=False)
    return model


def spread(spectral_filter: SpectralFilter) -> float:
    """Standard deviation of the weights over bins or frequencies and channels."""
    return float(spectral_filter.delta.detach().double().std(correction=0))


def filters_of(model: nn.Module) -> dict[str, list[SpectralFilter]]:
    """Filters of each level by task."""
    for module in model.modules():
        if isinstance(module, ChannelwiseSpectralFilter):
            return {name: list(levels) for name, levels in module.filters.items()}
    return {}


def bands_of(model: nn.Module) -> dict[str, np.ndarray]:
    """Scalars ``(4, levels)`` by task, in the order of ``SCALARS``."""
    for module in model.modules():
        if isinstance(module, CrossTaskConsensus):
            return {
                name: np.array([[getattr(band, s).item() for band in bands] for s in SCALARS])
                for name, bands in module.bands.items()
            }
    return {}


def print_tables(
    filters: Mapping[str, list[SpectralFilter]], bands: Mapping[str, np.ndarray]
) -> None:
    if filters:
        print('Gain 1 + delta: mean over channels, in quarters of the radius; spread of the')
        print('weights (standard deviation).')
        header = ['task', 'level', '0-.25', '.25-.5', '.5-.75', '.75-1', 'spread']
        rows = []
        for task, levels in filters.items():
            for i, spectral_filter in enumerate(levels):
                parts = [_mean(part) for part in np.array_split(gains(spectral_filter), 4)]
                numbers = [*parts, spread(spectral_filter)]
                rows.append([task, i, *(f'{number:.4f}' for number in numbers)])
        print(table(header, rows))
        print()
    if bands:
        print('Consensus: share taken over (alpha) and gain of the others (g), by band.')
        rows = [
            [task, i, *(f'{value:.4f}' for value in level)]
            for task, scalars in bands.items()
            for i, level in enumerate(scalars.T)
        ]
        print(table(['task', 'level', *SCALARS], rows))
        print()


def _mean(gain: np.ndarray) -> float:
    """Mean of the bins that have a frequency."""
    gain = gain[~np.isnan(gain).any(1)] if gain.size else gain
    return gain.mean() if gain.size else float('nan')


def main() -> None:
    args = parse_args()
    cfg = read_config(args)
    model = load(cfg, args.checkpoint)
    filters, bands = filters_of(model), bands_of(model)
    if not filters and not bands:
        raise SystemExit(
            f'The model of {args.config} has no spectral filters and no consensus: expected a neck '
            "such as dict(type='TSPD') in `model.necks`."
        )
    print_tables(filters, bands)
    out = Path(args.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    draw(filters, bands).savefig(out)
    print(f'Drawn in {out}.')


if __name__ == '__main__':
    main()
