"""What the files of a work dir say about its run."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mtpeft.checkpoints.files import CheckpointError, safe_load
from mtpeft.checkpoints.work_dir import last_checkpoint, numbered
from mtpeft.utils.run_logs import SCALARS, read_log

#: what records have beside the figures of an evaluation
_NO_FIGURES = frozenset({'step', 'iter', 'epoch', 'time', 'data_time', 'memory', 'lr', 'base_lr'})
_STATE = ('rank/', 'omega/')


class ReportError(Exception):
    """There is nothing to report on, said in words."""


@dataclass
class RunFiles:
    """A run, as its work dir tells of it.

    Attributes:
        path: The work dir.
        train: Records of training, by ascending iteration: ``iter``, ``epoch``, ``loss``, ...
        val: Records of evaluations: ``step`` and ``'<task>/<metric>'``.
        ranks: Records of ranks while they shrink: ``step`` and ``'rank/...'``.
        result: What :class:`~mtpeft.hooks.ResultHook` wrote, empty without it.
        recipe: What a suite noted, empty outside of suites.
        config_text, config_file: The config as the run wrote it.
        config_name: The name of the config that the run was started with.
        log: The text of the last log file.
        checkpoint: The last checkpoint's content without tensors of the model, empty without one.
        checkpoint_name: Its file.
        drawing: The last drawing of an evaluation, if there is one.
    """

    path: Path
    train: list[dict] = field(default_factory=list)
    val: list[dict] = field(default_factory=list)
    ranks: list[dict] = field(default_factory=list)
    result: dict = field(default_factory=dict)
    recipe: dict = field(default_factory=dict)
    config_text: str = ''
    config_file: Path | None = None
    config_name: str = ''
    log: str = ''
    checkpoint: dict = field(default_factory=dict)
    checkpoint_name: str = ''
    drawing: Path | None = None

    @property
    def name(self) -> str:
        """What the report calls it: the label and seed of a suite, else the folder."""
        if self.recipe:
            return f'{self.recipe["label"]}, seed {self.recipe["seed"]}'
        return self.path.resolve().name

    @property
    def shown_path(self) -> str:
        """The folder in commands: its name, in suites with the label above it."""
        path = self.path.resolve()
        return f'{path.parent.name}/{path.name}' if self.recipe else path.name

    @property
    def config(self) -> Config | None:
        """The config, which is Python of the user's own run."""
        return Config.fromfile(self.config_file) if self.config_file else None

    @property
    def metrics(self) -> dict[str, float]:
        """Figures of the last evaluation."""
        found = self.result.get('metrics') or (self.val[-1] if self.val else {})
        return {
            key: value for key, value in found.items()
            if key not in _NO_FIGURES and not key.startswith(_STATE) and value is not None
        }  # fmt: skip

    @property
    def by_epoch(self) -> bool:
        """Are evaluations counted in epochs?"""
        return bool(self.train) and 'epoch' in self.train[-1]


def is_run(path: Path) -> bool:
    """Is it the work dir of a run that has begun?"""
    return any(path.glob(SCALARS)) or (path / 'result.json').is_file()


def runs_of_suite(path: Path) -> list[Path]:
    """Work dirs ``<label>/seed<k>`` in a folder, those in use."""
    found = [p for p in path.glob('*/seed*') if p.is_dir() and '.old' not in p.name]
    return sorted((p for p in found if is_run(p)), key=lambda p: (p.parent.name, _seed(p.name)))


def read_run(path: Path) -> RunFiles:
    """Read a work dir.

    Raises:
        ReportError: a file in it is damaged.
    """
    run = RunFiles(path, result=_json(path / 'result.json'), recipe=_json(path / 'recipe.json'))
    if any(path.glob(SCALARS)):
        log = read_log(path)
        run.train = log.train
        run.ranks = [record for record in log.others if 'rank/mean' in record]
        run.val = [record for record in log.others if _has_figures(record)]
    started = sorted(path.glob('*.py'))
    run.config_name = started[-1].name if started else ''
    configs = sorted(path.glob('*/vis_data/config.py')) or started
    if configs:
        run.config_file = configs[-1]
        run.config_text = configs[-1].read_text(encoding='utf-8')
    logs = sorted(path.glob('*/*.log'))
    run.log = logs[-1].read_text(encoding='utf-8', errors='replace') if logs else ''
    drawings = sorted((path / 'vis').glob('val_*.png'), key=lambda file: file.stat().st_mtime)
    run.drawing = drawings[-1] if drawings else None
    _read_checkpoint(run)
    return run


def _add(run: RunFiles, records: list[dict]) -> None:
    """Add records of a start; a resumed run counts from where it went on."""
    steps = [r for r in records if 'loss' in r and 'iter' in r]
    if steps:
        run.train = [r for r in run.train if r['iter'] < steps[0]['iter']] + steps
    others = [r for r in records if 'loss' not in r and 'step' in r]
    ranks = [r for r in others if 'rank/mean' in r]
    evaluations = [
        r for r in others
        if any(key not in _NO_FIGURES and not key.startswith(_STATE) for key in r)
    ]  # fmt: skip
    for kept, found in ((run.ranks, ranks), (run.val, evaluations)):
        if found:
            kept[:] = [r for r in kept if r['step'] < found[0]['step']] + found


def _has_figures(record: Mapping) -> bool:
    return any(key not in _NO_FIGURES and not key.startswith(_STATE) for key in record)


def _read_checkpoint(run: RunFiles) -> None:
    try:
        name = last_checkpoint(run.path)
    except CheckpointError:
        left = numbered(run.path)
        name = str(run.path / left[-1]) if left else None
    if name is None:
        return
    try:
        saved = safe_load(name)
    except (FileNotFoundError, CheckpointError) as error:
        raise ReportError(str(error)) from error
    kept = {k: v for k, v in saved.items() if k not in ('state_dict', 'optimizer', 'message_hub')}
    run.checkpoint, run.checkpoint_name = kept, Path(name).name


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise ReportError(f'{path} is damaged ({error}). Remove it, or bring it back.') from None
    return dict(found) if isinstance(found, Mapping) else {}


def _seed(name: str) -> int:
    found = re.search(r'\d+', name)
    return int(found[0]) if found else 0
