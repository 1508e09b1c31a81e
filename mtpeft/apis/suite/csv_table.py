"""The table of a suite as CSV, for spreadsheets and scripts."""

import csv
import io
import math

from mtpeft.apis.suite.content import Content
from mtpeft.apis.suite.summary import Stat

_COUNTS = ('trainable', 'effective', 'without_decoder', 'effective_without_decoder',
           'without_decoder_and_unused')  # fmt: skip


def to_csv(content: Content) -> str:
    """One line a method: every figure with its deviation, parameters as whole numbers."""
    rows = content.summary.rows
    names = list({name: None for row in rows for name in row.metrics})
    figures = [f'{name}{kind}' for name in [*names, 'delta_m'] for kind in ('', ' std')]
    header = ['method', 'role', 'seeds', *figures, *_COUNTS, 'seconds_per_step', 'peak_memory_mb',
              'delta_note', 'problems']  # fmt: skip
    header += [f'p against {content.against}'] if content.against else []
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator='\n')
    writer.writerow(header)
    for row in rows:
        stats = [row.metrics.get(name) for name in names] + [row.delta_m]
        cells = [cell for stat in stats for cell in _mean_and_std(stat)]
        tested = [_blank(content.p_values.get(row.label))] if content.against else []
        writer.writerow([
            row.label, row.role, ' '.join(map(str, row.seeds)), *cells,
            *(row.parameters.get(key, '') for key in _COUNTS), _blank(row.seconds_per_step),
            _blank(row.peak_memory_mb), row.delta_note, '; '.join(row.problems), *tested,
        ])  # fmt: skip
    return buffer.getvalue()


def _mean_and_std(stat: Stat | None) -> tuple[float | str, float | str]:
    if stat is None:
        return '', ''
    return stat.mean, '' if math.isnan(stat.std) else stat.std


def _blank(value: float | None) -> float | str:
    return '' if value is None else value
