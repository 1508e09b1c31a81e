"""What was written, what failed, and the index that says both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mtpeft.apis.inputs import Input
from mtpeft.apis.predict.folder import INDEX, OutFolder
from mtpeft.apis.predict.results import Wanted

FORMAT = 'mtpeft maps 1'


@dataclass
class Report:
    """What became of the inputs.

    Attributes:
        pictures, videos, frames, files: How many were predicted and written.
        failed: Inputs that were not, or not wholly, predicted, each with the reason.
        stopped: Why it ended before the last input, ``''`` where it did not.
        status: Exit status that a signal gives: 130 for Ctrl-C, 143 for SIGTERM, else 0.
    """

    pictures: int = 0
    videos: int = 0
    frames: int = 0
    files: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    stopped: str = ''
    status: int = 0


class NotWritten(Exception):
    """A result could not be written; going on would lose the others too."""


class Ledger:
    """Writes results and keeps count of them.

    Args:
        folder: Where results go.
        wanted: What is written.
        said: What the index says of the model, JSON values.

    Raises:
        FileExistsError: the folder holds maps of another model or kind.
    """

    def __init__(self, folder: OutFolder, wanted: Wanted, said: Mapping[str, Any]) -> None:
        self.folder, self.wanted, self.report = folder, wanted, Report()
        index = dict(
            format=FORMAT, **said, exif_rotation=True, tasks=wanted.describe(), pictures=[],
            videos=[], failed=[],
        )  # fmt: skip
        self._index = folder.continued(index) if wanted.maps else index
        self._entries = {
            kind: {entry['name']: entry for entry in self._index[kind]}
            for kind in ('pictures', 'videos')
        }

    def write(self, name: str, data: bytes) -> None:
        """Write a file.

        Raises:
            NotWritten: it could not be written.
        """
        try:
            self.folder.write(name, data)
        except OSError as error:
            raise NotWritten(
                f'{self.folder.root / name} could not be written ({error.strerror or error}).'
            ) from error
        self.report.files += 1

    def entry(
        self, found: Input, shape: Sequence[int], readings: Mapping[str, Any]
    ) -> dict[str, Any]:  # fmt: skip
        """What the index says of an input; an entry of the same name is replaced by it."""
        entry = dict(input=found.source, name=found.name, height=shape[0], width=shape[1])
        return entry | (dict(reading=readings) if readings else {})

    def keep(self, kind: str, entry: dict[str, Any]) -> None:
        """Put an entry into the index."""
        self._entries[kind][entry['name']] = entry

    def failed(self, source: str, error: Exception | str) -> None:
        """Keep in mind that an input was not, or not wholly, predicted."""
        words = str(error).removeprefix(f'{source}: ')
        self.report.failed.append((source, words))
        self._index['failed'].append(dict(input=source, error=words))

    def finish(self) -> None:
        """Write the index, in which all is that was written."""
        self._index |= {kind: [*known.values()] for kind, known in self._entries.items()}
        if not self.wanted.maps or not any(self._entries.values()):
            return
        try:
            self.folder.write_index(self._index)
        except OSError as error:
            said = f'{self.folder.root / INDEX} could not be written ({error.strerror or error}).'
            self.report.stopped = f'{self.report.stopped} {said}'.strip()
            return
        self.report.files += 1
