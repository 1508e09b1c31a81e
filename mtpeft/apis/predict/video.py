"""A video or a camera, predicted frame by frame."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TextIO

import numpy as np

from mtpeft.apis.frames import Frames
from mtpeft.apis.inputs import Input
from mtpeft.apis.predict.film import Film
from mtpeft.apis.predict.ledger import Ledger, NotWritten
from mtpeft.apis.predict.results import Answer, Ranges
from mtpeft.utils.progress import Progress

Answers = Callable[[Sequence[str], Sequence[np.ndarray]], list[Answer | None]]


class VideoRun:
    """Predicts one video, or what a camera sees.

    Args:
        found: The video or camera.
        answers: What predicts frames; ``None`` for those that it cannot.
        smaller: What makes a large frame smaller.
        ledger: What writes.
        batch_size: Frames in a pass.
        limit: At most so many frames.
        stream: Where progress is shown.
    """

    def __init__(
        self,
        found: Input,
        answers: Answers,
        smaller: Callable[[np.ndarray], np.ndarray],
        ledger: Ledger,
        batch_size: int = 1,
        limit: int | None = None,
        stream: TextIO | None = None,
    ) -> None:
        self.found, self.answers, self.smaller, self.ledger = found, answers, smaller, ledger
        self.batch_size, self.limit, self.stream = batch_size, limit, stream
        self.wanted = ledger.wanted
        self.films: dict[str, Film] = {}
        self.entry: dict[str, Any] = {}
        self.ranges: Ranges = {}

    def run(self) -> None:
        """Predict it; what was read until an error or a stop is written."""
        source = self.found.source
        try:
            frames = Frames(source, self.found.kind == 'camera', self.limit)
        except ValueError as error:
            self.ledger.failed(source, error)
            return
        try:
            with Progress(frames.expected, f'frames of {source}', self.stream) as progress:
                for batch in _groups(map(self.smaller, frames), self.batch_size):
                    if not self._batch(batch, frames.fps, progress):
                        return
        finally:
            frames.close()
            if self.entry:
                self.ledger.keep('videos', self.entry)
                self.ledger.report.videos += 1
            self._close()
        if frames.problem:
            self.ledger.failed(source, frames.problem)

    def _batch(self, batch: list[np.ndarray], fps: float, progress: Progress) -> bool:
        answers = self.answers([self.found.source], batch)
        if answers[0] is None:
            return False
        if not self.entry:
            self._open(batch[0], fps)
        self.wanted.widened(self.ranges, answers)
        for image, answer in zip(batch, answers, strict=True):
            self._write(self.entry['frames'], answer)
            for task, sheet in self.wanted.draw(image, answer, self.ranges).items():
                self.films[task].add(sheet.array())
            self.entry['frames'] += 1
            self.ledger.report.frames += 1
            progress.add()
        return True

    def _open(self, image: np.ndarray, fps: float) -> None:
        name, folder = self.found.name, self.ledger.folder
        drawings = self.wanted.drawing_names(name, '.mp4')
        self.films = {task: Film(folder.path(file), fps) for task, file in drawings.items()}
        self.entry |= self.ledger.entry(self.found, image.shape, {})
        # (of any frame, as Python formats it)
        self.entry |= dict(fps=fps, frames=0, maps=self.wanted.map_names(f'{name}/{{:06d}}'))
        self.entry |= dict(drawings=[*drawings.values()])

    def _write(self, number: int, answer: Answer) -> None:
        try:
            files, readings = self.wanted.encoded(f'{self.found.name}/{number:06d}', answer)
        except ValueError as error:
            raise NotWritten(f'{self.found.source}, frame {number}: {error}') from error
        for name, data in files.items():
            self.ledger.write(name, data)
        if readings:
            self.entry.setdefault('reading_of_frames', {})[str(number)] = readings

    def _close(self) -> None:
        problems = []
        for film in self.films.values():
            try:
                film.close()
                self.ledger.report.files += film.frames > 0
            except OSError as error:
                problems.append(str(error))
        if problems:
            raise NotWritten(' '.join(problems))


def _groups(frames: Iterable[np.ndarray], size: int) -> Iterator[list[np.ndarray]]:
    """Frames in groups; what was read when a video ends comes too."""
    group: list[np.ndarray] = []
    for frame in frames:
        group.append(frame)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
