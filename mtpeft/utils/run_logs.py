"""What MMEngine's ``vis_data/scalars.json`` of a run says, put together over its starts."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SCALARS = '*/vis_data/scalars.json'
_COUNTERS = ('iter', 'epoch', 'step')

Points = tuple[list[float], list[float]]


@dataclass
class RunLog:
    """Records of a run.

    Attributes:
        path: Its work dir.
        train: Of training: ``iter``, ``loss``, ``time``, ..., by ascending iteration.
        others: Of evaluations and hooks, with ``step``.

    Example:
        >>> log = RunLog(Path('run'), [dict(iter=4, epoch=2, loss=.5)], [dict(step=2, rmse=1.)])
        >>> log.curve('loss'), log.curve('rmse')
        (([2.0], [0.5]), ([2.0], [1.0]))
    """

    path: Path
    train: list[dict] = field(default_factory=list)
    others: list[dict] = field(default_factory=list)

    @property
    def by_epoch(self) -> bool:
        """Are evaluations counted in epochs?"""
        return any('epoch' in record for record in self.train)

    @property
    def keys(self) -> list[str]:
        """Everything there is a curve of, in the order of the logs."""
        names = {key: None for record in [*self.train, *self.others] for key in record}
        return [name for name in names if name not in _COUNTERS]

    def curve(self, key: str) -> Points:
        """A quantity over epochs (over iterations, where evaluations are counted so)."""
        trained = [(r['iter'] / self._iterations, r[key]) for r in self.train if key in r]
        points = trained or [(r['step'], r[key]) for r in self.others if key in r]
        kept = [(float(x), float(y)) for x, y in points if y is not None and math.isfinite(y)]
        return [x for x, _ in kept], [y for _, y in kept]

    def mean(self, key: str) -> float | None:
        """Mean of a quantity over the records of training."""
        values = [record[key] for record in self.train if key in record]
        return sum(values) / len(values) if values else None

    @property
    def _iterations(self) -> float:
        """Iterations of an epoch, as well as the records tell."""
        if not self.by_epoch:
            return 1.0
        return max(r['iter'] / r['epoch'] for r in self.train if r.get('epoch'))


def read_log(path: str | Path) -> RunLog:
    """The log of a work dir; what a resumed start did again counts once, as it was done last.

    Raises:
        FileNotFoundError: there is none; the message says which work dirs are below.
    """
    path, log = Path(path), RunLog(Path(path))
    files = sorted(path.glob(SCALARS))
    if not files:
        below = sorted({str(f.parents[2]) for f in path.glob(f'*/{SCALARS}')})[:3]
        more = f' There are runs in {", ".join(below)}.' if below else ''
        raise FileNotFoundError(
            f'{path} has no {SCALARS}: expected the work dir of a run whose visualizer has a '
            f'LocalVisBackend, as in configs/_base_/default_runtime.py.{more}'
        )
    for file in files:
        _add(log, _records(file))
    return log


def find_logs(path: str | Path) -> list[Path]:
    """The work dirs that are meant: the path itself, or the runs ``<label>/seed<k>`` of a suite."""
    path = Path(path)
    if any(path.glob(SCALARS)):
        return [path]
    found = {file.parents[2] for file in path.glob(f'*/seed*/{SCALARS}')}
    return sorted(p for p in found if '.old' not in p.name) or [path]


def _add(log: RunLog, records: list[dict]) -> None:
    trained = [r for r in records if 'iter' in r and 'loss' in r]
    others = [r for r in records if 'step' in r and 'loss' not in r]
    if trained:
        log.train = [r for r in log.train if r['iter'] < trained[0]['iter']] + trained
    # what hooks say counts iterations, figures of evaluations count epochs: each by its own steps
    first: dict[str, float] = {}
    for record in others:
        for key in _said(record):
            first[key] = min(first.get(key, math.inf), record['step'])
    kept = [r for r in log.others
            if all(r['step'] < first.get(key, math.inf) for key in _said(r))]  # fmt: skip
    log.others = kept + others


def _said(record: Mapping) -> list[str]:
    return [key for key in record if key not in (*_COUNTERS, 'time', 'data_time')]


def _records(file: Path) -> list[dict]:
    """The records of a file, without a last line that a kill cut off."""
    found = []
    for line in file.read_text(encoding='utf-8').splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, Mapping):
            found.append(dict(record))
    return found
