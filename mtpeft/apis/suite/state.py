"""One run of a suite, and how far it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mtpeft.apis.suite import recipe
from mtpeft.apis.suite.folder import RunFolder
from mtpeft.apis.suite.suite import Entry


@dataclass(frozen=True)
class Run:
    """One entry with one seed.

    Attributes:
        status: ``'finished'``; ``'failed'`` (its last attempt); ``'unfinished'`` (started, and
            stopped or still running); ``'missing'`` (not started); ``'changed'`` (made with
            another recipe, so its result does not count); ``'broken'`` (its config is no config).
        result: What :class:`mtpeft.hooks.ResultHook` wrote, where ``status`` is ``'finished'``.
        reason: Why there is no result; empty where it is finished.
        resolved: All options of the run, ``None`` where ``status`` is ``'broken'``.
        named: The baselines that its config names, ``{task: {metric: value}}``.
        file: The file that the result was read from, where the run's folder has none.
    """

    entry: Entry
    seed: int
    folder: RunFolder
    status: str
    result: dict | None = None
    reason: str = ''
    resolved: Mapping[str, Any] | None = None
    file: Path | None = None
    named: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def recipe(self) -> dict:
        """What is noted in the run's folder before it starts."""
        return dict(
            recipe=recipe.fingerprint(self.resolved), label=self.entry.label,
            config=self.entry.config, role=self.entry.role,
            cfg_options=dict(self.entry.cfg_options), seed=self.seed, resolved=self.resolved,
        )  # fmt: skip
