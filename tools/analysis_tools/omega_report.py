"""Print and draw the frequencies of a model's tasks, and what they do to the rank of its weights.

    python tools/analysis_tools/omega_report.py CONFIG CHECKPOINT [--out omega.png] [--site NAME]

Of each layer with frequencies and each task, the effective rank of M, of sin(omega M), and of it
after the low-pass, which is what is added to the layer. The frequencies over training are in
checkpoints of runs with a FrequencyHook; a published .safetensors has the last ones alone. Of a
run with an EMAHook, all but the way over training is of the average.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn

from mtpeft.adapters.frequencies import (
    LOWPASS,
    MATRIX,
    SINE,
    Site,
    Source,
    find_site,
    no_frequencies,
    rank_of,
    sources_of,
    spread,
)
from mtpeft.apis.read_config import read_config
from mtpeft.checkpoints.files import CheckpointError, safe_load
from mtpeft.checkpoints.model_state import load_checked
from mtpeft.cli.config_arguments import add_config_arguments
from mtpeft.registry import MODELS
from mtpeft.utils.tables import table
from mtpeft.visualization.omega_picture import OmegaTrajectory, RankRow, draw_omega

_TITLES = {
    MATRIX: 'Effective rank of M:',
    SINE: 'Effective rank of sin(omega M):',
    LOWPASS: 'Effective rank after the low-pass:',
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', metavar='CONFIG', help='path of the config')
    parser.add_argument('checkpoint', metavar='CHECKPOINT', help='path of the checkpoint')
    parser.add_argument(
        '--out', default='omega.png', help='picture to write: .png, .pdf or .svg (omega.png)'
    )
    parser.add_argument(
        '--site', metavar='NAME',
        help='layer whose singular values are drawn, as the table names it; default: the largest',
    )  # fmt: skip
    add_config_arguments(parser)
    return parser.parse_args()


def build(cfg: Config) -> nn.Module:
    """The config's model, without its pretrained weights."""
    init_default_scope(cfg.get('default_scope', 'mtpeft'))
    return MODELS.build(cfg.model)


def load(model: nn.Module, checkpoint: str) -> list[dict]:
    """Load the checkpoint; its history of frequencies, empty where it has none.

    Raises:
        SystemExit: it cannot be read or does not fit.
    """
    try:
        saved = safe_load(checkpoint)
        load_checked(model, saved.get('state_dict', saved), f'Checkpoint {checkpoint}', base=False)
    except (FileNotFoundError, CheckpointError) as error:
        raise SystemExit(str(error)) from error
    return saved.get('frequencies', {}).get('history', [])


def omega_table(sources: Mapping[str, Source], history: Sequence[Mapping]) -> str:
    """A line a task and source: at the start, in the file, and how far that is."""
    rows = []
    for name, source in sources.items():
        now = source.omegas()
        start = history[0]['omegas'][name] if history else {}
        for task, omega in now.items():
            change = [start[task], omega, omega - start[task]] if start else [omega]
            rows.append([name, task, *change])
        for what, index in (('spread', 0), ('deviation', 1)):
            values = [spread(omegas)[index] for omegas in (start, now) if omegas]
            rows.append([name, what, *values, *[values[-1] - values[0]][: len(values) - 1]])
    columns = ['start', 'now', 'change'] if history else ['now']
    header, rows = ['of', 'task', *columns], _once(rows)
    return table(header, rows) if len(sources) > 1 else table(header[1:], [r[1:] for r in rows])


def rank_row(site: Site) -> RankRow:
    """Effective ranks of all steps and tasks."""
    steps = site.steps()
    ranks = {
        step: {task: rank_of(weight) for task, weight in weights.items()}
        for step, weights in steps.items()
    }
    return RankRow(ranks, tuple(next(iter(steps[MATRIX].values())).shape))


def rank_tables(rows: Mapping[str, RankRow]) -> str:
    """A table a step: a line a layer, a column a task; M, where tasks share it, beside each."""
    shared = {
        name: row.ranks[MATRIX] if MATRIX in row.ranks[MATRIX] else {} for name, row in rows.items()
    }
    parts = []
    for step, title in _TITLES.items():
        ranks = {
            name: {**shared[name], **row.ranks[step]}
            for name, row in rows.items() if step in row.ranks
        }  # fmt: skip
        said_elsewhere = step == MATRIX and all(
            shared[name] and len(row.ranks) > 1 for name, row in rows.items()
        )
        if not ranks or said_elsewhere:
            continue
        columns = list({column: None for by_task in ranks.values() for column in by_task})
        columns.sort(key=lambda column: column != MATRIX)
        lines = [
            [name, ' x '.join(map(str, rows[name].shape)), *(by.get(c, '-') for c in columns)]
            for name, by in ranks.items()
        ]
        parts.append(title + '\n' + table(['layer', 'out x in', *columns], lines))
    return '\n\n'.join(parts)


def way_table(site: str, history: Sequence[Mapping]) -> str:
    """Effective ranks of a site over training."""
    records = [record for record in history if site in record['effective_ranks']]
    tasks = list(records[0]['effective_ranks'][site])
    lines = [
        [str(r['epoch']), str(r['iter']), *(r['effective_ranks'][site][task] for task in tasks)]
        for r in records
    ]
    return table(['epoch', 'iteration', *tasks], lines)


def spectra_of(site: Site) -> dict[str, dict[str, np.ndarray]]:
    """Singular values by step and task."""
    return {
        step: {task: torch.linalg.svdvals(w.double()).numpy() for task, w in weights.items()}
        for step, weights in site.steps().items()
    }


def _once(rows: Sequence[list]) -> list[list]:
    """Rows that say their first column only where it changes."""
    firsts = [None, *(row[0] for row in rows)]
    return [
        ['' if row[0] == before else row[0], *row[1:]]
        for before, row in zip(firsts, rows, strict=False)
    ]


def main() -> None:
    args = parse_args()
    cfg = read_config(args)
    model = build(cfg)
    sources = sources_of(model)
    if not sources:
        raise SystemExit(no_frequencies(f'The model of {args.config}'))
    sites = {site.name: site for source in sources.values() for site in source.sites}
    try:
        site = find_site(sites, args.site)
    except ValueError as error:
        raise SystemExit(f'--site: {error}') from error
    history = load(model, args.checkpoint)
    print(f'Frequencies of {args.checkpoint}:')
    print(omega_table(sources, history))
    if not history:
        print('The file does not say how frequencies changed (only checkpoints of runs with '
              'FrequencyHook do).')  # fmt: skip
    rows = {name: rank_row(one) for name, one in sites.items()}
    print(f'\n{rank_tables(rows)}\n')
    if history:
        print(f'Effective rank of what {site.name} adds, over training:')
        print(way_table(site.name, history) + '\n')
    source = next(s for s in sources.values() if site in s.sites)
    figure = draw_omega(
        site.tasks, site.name, spectra_of(site), rows,
        OmegaTrajectory.of(history) if history else None, source.name, source.bounds,
        'Frequencies of the tasks, and what they do to ranks',
    )  # fmt: skip
    out = Path(args.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out)
    print(f'Drawn in {out}.')


if __name__ == '__main__':
    main()
