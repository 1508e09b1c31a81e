"""What a suite runs."""

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mtpeft.apis.data_options import RunData
from mtpeft.apis.suite.recipe import flatten
from mtpeft.apis.task_options import task_names
from mtpeft.utils.shipped import find_config
from mtpeft.utils.suggest import hint

SINGLE_TASK = 'single_task'
ROLES = (SINGLE_TASK, 'method')
_KEYS = ('data', 'cfg_options', 'seeds', 'entries')


@dataclass(frozen=True)
class Entry:
    """One method of a suite.

    Args:
        label: Its name in the table, and of its folder.
        config: Path of its config.
        role: ``'single_task'``: its headline is a baseline of Delta_m. ``'method'``: compared.
        cfg_options: Options of this entry alone, by dotted key.
        seeds: Seeds of this entry. ``None``: those of the suite.
        stage: Runs of a lower stage are made first. Within a stage runs are made seed by seed.

    Raises:
        ValueError: the label is no name of a folder, the role is unknown, or two seeds are equal.

    Example:
        >>> Entry('lora', 'configs/lora/lora_swin-pico_scenes.py').role
        'method'
    """

    label: str
    config: str
    role: str = 'method'
    cfg_options: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] | None = None
    stage: int = 0

    def __post_init__(self) -> None:
        if not re.fullmatch(r'[\w+][\w.+@-]*', self.label):
            raise ValueError(
                f'Expected a label of letters, digits and _ . + - @ (it names a folder), '
                f'got {self.label!r}.'
            )
        if self.role not in ROLES:
            raise ValueError(
                f"Entry '{self.label}': role='{self.role}' is unknown. " + hint(self.role, ROLES)
            )
        if self.seeds is not None:
            _check_seeds(self.seeds, f"Entry '{self.label}': ")
        if not isinstance(self.stage, int):
            raise ValueError(
                f"Entry '{self.label}': expected stage to be an integer, got {self.stage!r}."
            )


@dataclass(frozen=True)
class Suite:
    """Methods that are trained with one recipe on one data set.

    Args:
        name: Name of the suite.
        data: Name of the data, for the title of the report.
        entries: The methods, in the order of the table.
        cfg_options: Options of all runs, by dotted key: the recipe.
        seeds: Seeds; each entry without seeds of its own is run with each.
        about: Folder, tasks and size of all runs, over those of their configs.

    Raises:
        ValueError: no entry, two with one label, or no seeds.
    """

    name: str
    data: str
    entries: tuple[Entry, ...]
    cfg_options: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)
    about: RunData = RunData()

    def __post_init__(self) -> None:
        labels = [entry.label for entry in self.entries]
        if not labels:
            raise ValueError(f"Suite '{self.name}' has no entries.")
        for label in labels:
            if labels.count(label) > 1:
                raise ValueError(f"Suite '{self.name}': the label '{label}' occurs twice.")
        _check_seeds(self.seeds)

    def seeds_of(self, entry: Entry) -> tuple[int, ...]:
        """The seeds that an entry is run with."""
        return self.seeds if entry.seeds is None else entry.seeds

    def about_of(self, entry: Entry) -> RunData:
        """Folder, tasks and size that an entry is run with; a network of one task keeps its own."""
        one = entry.role == SINGLE_TASK
        return dataclasses.replace(self.about, tasks=None) if one else self.about

    def with_data(self, about: RunData) -> 'Suite':
        """The suite on other data; networks of a task that is not among its tasks are left out."""
        wanted = set(about.tasks or ())
        entries = tuple(
            entry for entry in self.entries
            if about.tasks is None or entry.role != SINGLE_TASK
            or wanted.issuperset(task_names(Config.fromfile(entry.config)))
        )  # fmt: skip
        return dataclasses.replace(self, about=about, entries=entries)

    def with_seeds(self, seeds: Sequence[int]) -> 'Suite':
        """The suite with these seeds for every entry."""
        entries = tuple(dataclasses.replace(entry, seeds=None) for entry in self.entries)
        return dataclasses.replace(self, seeds=tuple(seeds), entries=entries)

    def with_configs(self, given: Sequence[str]) -> tuple['Suite', tuple[Entry, ...]]:
        """The suite with the configs that it lacks added, and the entries that are meant.

        Args:
            given: Paths or names of configs, or labels of entries; none means all entries.

        Raises:
            FileNotFoundError: neither a label nor a file.
        """
        if not given:
            return self, self.entries
        entries, chosen = list(self.entries), []
        for word in given:
            config = _config_of(word)
            path = config and os.path.realpath(config)
            found = [e for e in entries if word == e.label or path == os.path.realpath(e.config)]
            if not found and config is None:
                labels = [entry.label for entry in entries]
                raise FileNotFoundError(
                    f"'{word}' is neither a config nor an entry of suite '{self.name}'. "
                    + hint(word, labels)
                )
            if not found:
                found = [Entry(Path(config).stem, config)]
                entries += found
            chosen += [entry for entry in found if entry not in chosen]
        return dataclasses.replace(self, entries=tuple(entries)), tuple(chosen)


def run_options(suite: Suite, entry: Entry) -> dict[str, Any]:
    """The options of one entry: those of the suite, then its own."""
    return {**suite.cfg_options, **entry.cfg_options}


def load_suite(name: str, folder: str | Path = 'configs/suites') -> Suite:
    """Read a suite.

    Args:
        name: Name of a file in ``folder`` without ``.py``, or a path. The file sets ``entries``
            (a list of dicts with the arguments of :class:`Entry`; paths of configs are relative
            to the file), and may set ``cfg_options``, ``seeds`` and ``data``.
        folder: Where named suites lie.

    Raises:
        FileNotFoundError: there is no such suite.
        ValueError: the file sets something else, or an entry is wrong.

    Example:
        >>> suite = load_suite('scenes')  # doctest: +SKIP
        >>> [e.label for e in suite.entries if e.role == 'method']  # doctest: +SKIP
        ['full_finetune', 'decoders_only', 'lora', 'mtlora', 'mtlora-plus']
    """
    path = Path(name) if name.endswith('.py') else Path(folder) / f'{name}.py'
    if not path.is_file():
        known = [p.stem for p in path.parent.glob('*.py')]
        raise FileNotFoundError(
            f"There is no suite '{name}' in {path.parent}. " + hint(path.stem, known)
        )
    content = Config.fromfile(str(path)).to_dict()
    for key in content:
        if key not in _KEYS:
            raise ValueError(f"{path}: unknown name '{key}'. " + hint(key, _KEYS))
    entries = tuple(_entry(path, options) for options in content.get('entries', ()))
    return Suite(
        path.stem, content.get('data', path.stem), entries,
        flatten(content.get('cfg_options', {})), tuple(content.get('seeds', (0,))),
    )  # fmt: skip


def _config_of(word: str) -> str | None:
    """The path of a config, or of one that mtpeft ships."""
    try:
        return find_config(word)
    except FileNotFoundError:
        return None


def _entry(path: Path, options: Mapping) -> Entry:
    known = [f.name for f in dataclasses.fields(Entry)]
    for key in options:
        if key not in known:
            raise ValueError(f"{path}: an entry has no option '{key}'. " + hint(key, known))
    for key in ('label', 'config'):
        if key not in options:
            raise ValueError(f"{path}: an entry lacks '{key}': {dict(options)}.")
    config = os.path.relpath(path.parent / options['config'])
    own = flatten(options.get('cfg_options', {}))
    seeds = options.get('seeds')
    seeds = None if seeds is None else tuple(seeds)
    return Entry(**{**options, 'config': config, 'cfg_options': own, 'seeds': seeds})


def _check_seeds(seeds: Sequence[int], where: str = '') -> None:
    if not seeds or len(set(seeds)) != len(seeds):
        raise ValueError(f'{where}Expected different seeds, at least one, got {list(seeds)}.')
