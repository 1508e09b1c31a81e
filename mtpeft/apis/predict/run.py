"""Pictures, videos and cameras predicted one after another, and written as files."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch

from mtpeft.apis.frames import Frames
from mtpeft.apis.inferencer import MultiTaskInferencer
from mtpeft.apis.inputs import Input
from mtpeft.apis.predict.film import Film
from mtpeft.apis.predict.folder import INDEX, OutFolder
from mtpeft.apis.predict.results import Ranges, Wanted, png
from mtpeft.utils.progress import Progress

FORMAT = 'mtpeft maps 1'
#: pixels beyond which a picture is predicted in windows, unless the model has windows of its own
WHOLE = 4_000_000
WINDOW = (1024, 1024)
#: pixels that a batch may have, so that eight photographs of a large camera are not one batch
_BATCH_AREA = 2 * WHOLE

Answer = Mapping[str, np.ndarray]


@dataclass
class Report:
    """What became of the inputs.

    Attributes:
        pictures, videos, frames, files: How many were predicted and written.
        failed: Inputs that were not, or not wholly, predicted, each with the reason.
        stopped: Why it ended before the last input, ``''`` where it did not.
    """

    pictures: int = 0
    videos: int = 0
    frames: int = 0
    files: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    stopped: str = ''
    interrupted: bool = False


class NotWritten(Exception):
    """A result could not be written; going on would lose the others too."""


class PredictRun:
    """Predicts inputs and writes what is wanted of them.

    Args:
        predict: The inferencer.
        folder: Where results go.
        wanted: What is written.
        batch_size: Pictures, or frames, in a pass.
        frames: At most so many frames of each video or camera. ``None``: all.
        window: Height and width of the windows of large pictures, ``None``: no windows but those
            of the model.
        said: What the index says of the model, JSON values.
        stream: Where progress is shown. Default: standard error.
    """

    def __init__(
        self,
        predict: MultiTaskInferencer,
        folder: OutFolder,
        wanted: Wanted,
        batch_size: int = 1,
        frames: int | None = None,
        window: tuple[int, int] | None = WINDOW,
        said: Mapping[str, Any] | None = None,
        stream: TextIO | None = None,
    ) -> None:
        self.predict, self.folder, self.wanted = predict, folder, wanted
        self.batch_size, self.frames, self.stream = batch_size, frames, stream
        self.windowed = predict
        if window is not None and predict.test_options.crop is None:
            slide = dict(mode='slide', crop_size=window)
            self.windowed = MultiTaskInferencer(predict.model, predict.tasks, test_cfg=slide)
        self.report = Report()
        self.entries: dict[str, dict[str, dict]] = dict(pictures={}, videos={})
        self.index: dict[str, Any] = dict(
            format=FORMAT, **(said or {}), exif_rotation=True, tasks=wanted.describe(),
            pictures=[], videos=[], failed=[],
        )  # fmt: skip

    def run(self, inputs: Sequence[Input]) -> Report:
        """Predict all inputs; the report.

        An input that cannot be read is named in the report, and the others go on. Ctrl-C and a
        full disk end it with whole files and an index of them.

        Raises:
            FileExistsError: results would be written over.
        """
        self.folder.refuse_existing(self.names(inputs))
        self.index = self.folder.continued(self.index)
        for kind, known in self.entries.items():  # (those of the same name are replaced)
            known |= {entry['name']: entry for entry in self.index[kind]}
        try:
            self._pictures([found for found in inputs if found.kind == 'picture'])
            for found in inputs:
                if found.kind != 'picture':
                    self._video(found)
        except NotWritten as error:
            self.report.stopped = str(error)
        except KeyboardInterrupt:
            self.report.interrupted = True
            self.report.stopped = 'Stopped by Ctrl-C.'
        finally:
            self._finish()
        return self.report

    def names(self, inputs: Sequence[Input]) -> list[str]:
        """Files that will be written; of maps of frames their folder."""
        names = []
        for found in inputs:
            film = found.kind != 'picture'
            maps = self.wanted.map_names(found.name)
            names += [str(Path(file).with_suffix('')) for file in maps.values()] if film else [
                *maps.values()
            ]  # fmt: skip
            names += self.wanted.drawing_names(found.name, '.mp4' if film else '.png').values()
        return names

    # -- pictures ----------------------------------------------------------------------------------

    def _pictures(self, inputs: Sequence[Input]) -> None:
        if not inputs:
            return
        with Progress(len(inputs), 'pictures', self.stream) as progress:
            for batch in self._batches(inputs, progress):
                images = [image for _, image in batch]
                answers = self._answers([found.source for found, _ in batch], images)
                for (found, image), answer in zip(batch, answers, strict=True):
                    if answer is not None:
                        self._write_picture(found, image, answer)
                progress.add(len(batch))

    def _batches(
        self, inputs: Sequence[Input], progress: Progress
    ) -> Iterator[list[tuple[Input, np.ndarray]]]:
        batch, area = [], 0
        for found in inputs:
            try:
                # upright, as people see it and networks are trained
                image = self.predict.read(found.source, exif=True)
            except (OSError, ValueError) as error:
                self._failed(found.source, error)
                progress.add()
                continue
            size = image.shape[0] * image.shape[1]
            if batch and (len(batch) == self.batch_size or area + size > _BATCH_AREA):
                yield batch
                batch, area = [], 0
            batch.append((found, image))
            area += size
        if batch:
            yield batch

    def _answers(
        self, sources: Sequence[str], images: Sequence[np.ndarray]
    ) -> list[Answer | None]:  # fmt: skip
        if len(images) == 1 and images[0].shape[0] * images[0].shape[1] > WHOLE:
            predict = self.windowed
        else:
            predict = self.predict
        try:
            return predict(list(images), batch_size=len(images))
        except (torch.OutOfMemoryError, MemoryError):
            height, width = images[0].shape[:2]
            for source in sources:
                self._failed(source, MemoryError(
                    f'memory ran out at {len(images)} pictures of {width} x {height}. Give '
                    '--batch-size 1, or smaller windows: --window 512'
                ))  # fmt: skip
            return [None] * len(images)

    def _write_picture(self, found: Input, image: np.ndarray, answer: Answer) -> None:
        try:
            files, readings = self.wanted.encoded(found.name, answer)
        except ValueError as error:
            self._failed(found.source, error)
            return
        names = self.wanted.drawing_names(found.name)
        drawn = self.wanted.draw(image, answer)
        files |= {names[task]: png(rgb) for task, rgb in drawn.items()}
        for name, data in files.items():
            self._write(name, data)
        self.report.pictures += 1
        entry = self._entry(found, image.shape, readings)
        self._keep('pictures', entry | dict(maps=self.wanted.map_names(found.name)))

    # -- videos and cameras ------------------------------------------------------------------------

    def _video(self, found: Input) -> None:
        try:
            frames = Frames(found.source, found.kind == 'camera', self.frames)
        except ValueError as error:
            self._failed(found.source, error)
            return
        films: dict[str, Film] = {}
        entry: dict[str, Any] = {}
        try:
            with Progress(frames.expected, f'frames of {found.source}', self.stream) as progress:
                self._frames(found, frames, films, entry, progress)
        finally:
            frames.close()
            self._close(films)
            if entry:
                self._keep('videos', entry)
                self.report.videos += 1
        if frames.problem:
            self._failed(found.source, ValueError(frames.problem))

    def _frames(
        self,
        found: Input,
        frames: Frames,
        films: dict[str, Film],
        entry: dict[str, Any],
        progress: Progress,
    ) -> None:
        ranges: Ranges = {}
        number = 0
        for batch in _groups(frames, self.batch_size):
            answers = self._answers([found.source], batch)
            if answers[0] is None:
                return
            if not entry:
                self._open(found, frames, batch[0], films, entry)
            self.wanted.widened(ranges, answers)
            for image, answer in zip(batch, answers, strict=True):
                self._write_frame(found, number, answer, entry)
                for task, rgb in self.wanted.draw(image, answer, ranges).items():
                    films[task].add(rgb)
                number += 1
                entry['frames'] = number
                self.report.frames += 1
                progress.add()

    def _open(
        self,
        found: Input,
        frames: Frames,
        image: np.ndarray,
        films: dict[str, Film],
        entry: dict[str, Any],
    ) -> None:
        names = self.wanted.drawing_names(found.name, '.mp4')
        films |= {task: Film(self.folder.path(name), frames.fps) for task, name in names.items()}
        entry |= self._entry(found, image.shape, {})
        entry |= dict(fps=frames.fps, frames=0, maps=self.wanted.map_names(_frame(found, None)))
        entry |= dict(drawings=[*names.values()])

    def _write_frame(
        self, found: Input, number: int, answer: Answer, entry: dict[str, Any]
    ) -> None:  # fmt: skip
        try:
            files, readings = self.wanted.encoded(_frame(found, number), answer)
        except ValueError as error:
            raise NotWritten(f'{found.source}, frame {number}: {error}') from error
        for name, data in files.items():
            self._write(name, data)
        if readings:
            entry.setdefault('reading_of_frames', {})[str(number)] = readings

    def _close(self, films: Mapping[str, Film]) -> None:
        for film in films.values():
            try:
                film.close()
            except OSError as error:
                raise NotWritten(str(error)) from error
            self.report.files += film.frames > 0

    # -- what is kept in mind ----------------------------------------------------------------------

    def _entry(
        self, found: Input, shape: Sequence[int], readings: Mapping[str, Any]
    ) -> dict[str, Any]:  # fmt: skip
        entry = dict(input=found.source, name=found.name, height=shape[0], width=shape[1])
        return entry | (dict(reading=readings) if readings else {})

    def _keep(self, kind: str, entry: dict[str, Any]) -> None:
        self.entries[kind][entry['name']] = entry

    def _write(self, name: str, data: bytes) -> None:
        try:
            self.folder.write(name, data)
        except OSError as error:
            raise NotWritten(
                f'{self.folder.root / name} could not be written ({error.strerror or error}).'
            ) from error
        self.report.files += 1

    def _failed(self, source: str, error: Exception) -> None:
        words = str(error).removeprefix(f'{source}: ')
        self.report.failed.append((source, words))
        self.index['failed'].append(dict(input=source, error=words))

    def _finish(self) -> None:
        """The index, in which all is that was written."""
        self.index |= {kind: [*known.values()] for kind, known in self.entries.items()}
        if not self.wanted.maps or not self.index['pictures'] + self.index['videos']:
            return
        try:
            self.folder.write_index(self.index)
        except OSError as error:
            said = f'{self.folder.root / INDEX} could not be written ({error.strerror or error}).'
            self.report.stopped = f'{self.report.stopped} {said}'.strip()
            return
        self.report.files += 1


def _frame(found: Input, number: int | None) -> str:
    """The name of a frame; of any frame, as Python formats it."""
    return f'{found.name}/' + ('{:06d}' if number is None else f'{number:06d}')


def _groups(frames: Frames, size: int) -> Iterator[list[np.ndarray]]:
    """Frames of one size in groups; what was read when a video ends comes too."""
    group: list[np.ndarray] = []
    for frame in frames:
        group.append(frame)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
