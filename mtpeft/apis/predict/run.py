"""Pictures, videos and cameras predicted one after another, and written as files."""

import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch

from mtpeft.apis.inferencer import MultiTaskInferencer
from mtpeft.apis.inputs import Input
from mtpeft.apis.pictures import reduced
from mtpeft.apis.predict.folder import OutFolder
from mtpeft.apis.predict.ledger import Ledger, NotWritten, Report
from mtpeft.apis.predict.results import Answer, Wanted
from mtpeft.apis.predict.video import VideoRun
from mtpeft.utils.progress import Progress
from mtpeft.utils.signals import STATUS, Terminated

#: pixels beyond which a picture is predicted in windows, unless the model has windows of its own
WHOLE = 4_000_000
WINDOW = (512, 512)
#: pixels that a batch may have, so that eight photographs of a large camera are not one batch
_BATCH_AREA = 2 * WHOLE


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
        longest: Pictures whose longer side has more pixels are made smaller first, and so are
            their maps. ``None``: none is.
        said: What the index says of the model, JSON values.
        stream: Where progress is shown. Default: standard error.
        compared: Further models by the names that drawings give them; the first entry names the
            model itself, and may be ``None``. Their predictions are drawn, not written as maps.

    Raises:
        FileExistsError: the folder holds maps of another model or kind.
    """

    def __init__(
        self,
        predict: MultiTaskInferencer,
        folder: OutFolder,
        wanted: Wanted,
        batch_size: int = 1,
        frames: int | None = None,
        window: tuple[int, int] | None = WINDOW,
        longest: int | None = None,
        said: Mapping[str, Any] | None = None,
        stream: TextIO | None = None,
        compared: Mapping[str, MultiTaskInferencer | None] | None = None,
    ) -> None:
        self.compared = dict(compared or {})
        self.predict, self.folder, self.wanted = predict, folder, wanted
        self.batch_size, self.frames, self.stream = batch_size, frames, stream
        self.longest = longest
        self.ledger = Ledger(folder, wanted, dict(said or {}) | dict(longest=longest))
        self.windowed = predict
        if window is not None and predict.test_options.crop is None:
            slide = dict(mode='slide', crop_size=window)
            self.windowed = MultiTaskInferencer(predict.model, predict.tasks, test_cfg=slide)

    def run(self, inputs: Sequence[Input]) -> Report:
        """Predict all inputs; the report.

        An input that cannot be read is named in the report, and the others go on. Ctrl-C, SIGTERM
        (where it is watched) and a full disk end it with whole files and an index of them.

        Raises:
            FileExistsError: results would be written over.
        """
        others = [found.source for found in inputs if found.kind != 'picture']
        if self.compared and others:
            raise ValueError(
                f'{others[0]} is no picture: models are compared on pictures. Leave out the other '
                'inputs, or --compare.'
            )
        self.folder.refuse_existing(self.names(inputs))
        report = self.ledger.report
        try:
            self._pictures([found for found in inputs if found.kind == 'picture'])
            for found in inputs:
                if found.kind != 'picture':
                    options = (self.ledger, self.batch_size, self.frames, self.stream)
                    VideoRun(found, self.answers, self.made_smaller, *options).run()
        except NotWritten as error:
            report.stopped = str(error)
        except KeyboardInterrupt:
            report.status, report.stopped = 128 + signal.SIGINT, 'Stopped by Ctrl-C.'
        except Terminated:
            report.status, report.stopped = STATUS, 'Stopped by SIGTERM.'
        finally:
            self.ledger.finish()
        return report

    def names(self, inputs: Sequence[Input]) -> list[str]:
        """Files that will be written; of maps of frames their folder."""
        names = []
        for found in inputs:
            maps = self.wanted.map_names(found.name).values()
            if found.kind == 'picture':
                names += [*maps, *self.wanted.drawing_names(found.name).values()]
            else:
                names += [str(Path(file).with_suffix('')) for file in maps]
                names += self.wanted.drawing_names(found.name, '.mp4').values()
        return names

    def made_smaller(self, image: np.ndarray) -> np.ndarray:
        """A picture with at most ``longest`` pixels at its longer side."""
        return image if self.longest is None else reduced(image, self.longest)

    def answers(
        self, sources: Sequence[str], images: Sequence[np.ndarray]
    ) -> list[Answer | None]:  # fmt: skip
        """Predictions of pictures ``(H, W, C)``, BGR; ``None`` where memory ran out."""
        height, width = images[0].shape[:2]
        alone = len(images) == 1 and height * width > WHOLE
        predict = self.windowed if alone else self.predict
        try:
            return predict(list(images), batch_size=len(images))
        except (torch.OutOfMemoryError, MemoryError):
            for source in sources:
                self.ledger.failed(
                    source,
                    f'memory ran out at {len(images)} pictures of {width} x {height}. Give '
                    '--batch-size 1, or smaller windows: --window 256',
                )
            return [None] * len(images)

    def _pictures(self, inputs: Sequence[Input]) -> None:
        if not inputs:
            return
        with Progress(len(inputs), 'pictures', self.stream) as progress:
            for batch in self._batches(inputs, progress):
                images = [image for _, image in batch]
                answers = self.answers([found.source for found, _ in batch], images)
                for (found, image), answer in zip(batch, answers, strict=True):
                    if answer is not None:
                        self._write(found, image, answer)
                progress.add(len(batch))

    def _batches(
        self, inputs: Sequence[Input], progress: Progress
    ) -> Iterator[list[tuple[Input, np.ndarray]]]:
        batch, area = [], 0
        for found in inputs:
            try:
                # upright, as people see it and networks are trained
                image = self.made_smaller(self.predict.read(found.source, exif=True))
            except (OSError, ValueError) as error:
                self.ledger.failed(found.source, error)
                progress.add()
                continue
            size = image.shape[0] * image.shape[1]
            if size > WHOLE and self.windowed is not self.predict:
                progress.note(f'{found.source}: {size / 1e6:.1f} million pixels, in windows')
            # (a large picture is predicted alone)
            size = _BATCH_AREA if size > WHOLE else size
            if batch and (len(batch) == self.batch_size or area + size > _BATCH_AREA):
                yield batch
                batch, area = [], 0
            batch.append((found, image))
            area += size
        if batch:
            yield batch

    def _compared(self, image: np.ndarray, answer: Answer) -> dict[str, Answer]:
        if not self.wanted.drawn:
            return {}
        return {
            name: answer if predict is None else predict(image)
            for name, predict in self.compared.items()
        }

    def _write(self, found: Input, image: np.ndarray, answer: Answer) -> None:
        try:
            files, readings = self.wanted.encoded(found.name, answer)
        except ValueError as error:
            self.ledger.failed(found.source, error)
            return
        names = self.wanted.drawing_names(found.name)
        drawn = self.wanted.draw(image, answer, None, self._compared(image, answer))
        for task, sheet in drawn.items():
            files[names[task]] = sheet.encoded(f'.{self.wanted.figure}')
        for name, data in files.items():
            self.ledger.write(name, data)
        entry = self.ledger.entry(found, image.shape, readings)
        self.ledger.keep('pictures', entry | dict(maps=self.wanted.map_names(found.name)))
        self.ledger.report.pictures += 1
