"""The files of a suite: tables, a plot, baselines."""

import json
from collections.abc import Sequence
from pathlib import Path

from mtpeft.apis.suite.collect import collect, listed
from mtpeft.apis.suite.content import Content
from mtpeft.apis.suite.csv_table import to_csv
from mtpeft.apis.suite.latex import latex
from mtpeft.apis.suite.markdown import markdown
from mtpeft.apis.suite.plot import KINDS, plot_delta
from mtpeft.apis.suite.results import ResultFiles
from mtpeft.apis.suite.suite import Entry, Suite
from mtpeft.apis.suite.summary import Summary
from mtpeft.utils.atomic import write_atomically

#: by the word of ``--format``: the file, and what makes it
FORMATS = {
    'md': ('table.md', markdown), 'csv': ('table.csv', to_csv), 'latex': ('table.tex', latex),
}  # fmt: skip


def write_report(
    suite: Suite,
    work_dir: str | Path,
    results: ResultFiles | None = None,
    chosen: Sequence[Entry] | None = None,
    against: str = '',
) -> Summary:
    """Write the tables, ``delta_m.png``, ``.pdf``, ``.svg`` and ``baselines.json`` to ``work_dir``.

    The plot needs a Delta_m, the baselines a single-task result; what cannot be made any more is
    removed. ``baselines.json`` is what ``MultiTaskEvaluator(baselines=...)`` reads.

    Args:
        suite: The suite.
        work_dir: Of its runs.
        results: Files that are read where a run is not finished in ``work_dir``.
        chosen: Only these are listed, with single-task runs that are finished. Default: all that
            there is.
        against: The method that others are tested against, see
            :func:`~mtpeft.apis.suite.significance.p_values`.

    Returns:
        What was written.

    Raises:
        ValueError: ``against`` is no method of the table, or has too few seeds.
    """
    work_dir = Path(work_dir)
    runs = collect(suite, work_dir, results)
    content = Content.of(suite, runs if chosen is None else listed(runs, chosen), against)
    for name, make in FORMATS.values():
        write_atomically(make(content).encode(), work_dir / name)
    summary = content.summary
    baselines = work_dir / 'baselines.json'
    if summary.measured:
        text = json.dumps(dict(baselines=summary.measured), indent=2)
        write_atomically(text.encode(), baselines)
    else:
        baselines.unlink(missing_ok=True)
    has_delta = any(row.delta_m is not None and row.role == 'method' for row in summary.rows)
    pictures = plot_delta(summary.rows, f'{suite.name}: {suite.data}') if has_delta else {}
    for kind in KINDS:
        picture = work_dir / f'delta_m.{kind}'
        if kind in pictures:
            write_atomically(pictures[kind], picture)
        else:
            picture.unlink(missing_ok=True)
    return summary
