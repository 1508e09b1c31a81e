"""Frames of a video file or of a camera."""

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from mtpeft.datasets.errors import DataFileError

#: frames that a container may promise too many, since some only estimate their number
_SLACK = 0.02
_USUAL_FPS = 25.0


class Frames:
    """Iterates over frames ``(H, W, 3)`` uint8, BGR.

    Args:
        source: Path of a video, or the number of a camera.
        camera: Whether it is a camera.
        limit: At most so many frames. ``None``: all; of a camera, until it is closed.

    Attributes:
        fps (float): Frames a second; 25 where the source does not say.
        expected (int | None): Number of frames, where the source says it.
        read (int): Frames that were read so far.
        problem (str): Why a video ended early, ``''`` where it did not.

    Raises:
        DataFileError: the video cannot be decoded, or there is no such camera.
    """

    def __init__(self, source: str | int, camera: bool = False, limit: int | None = None) -> None:
        _quiet()
        self.source, self.camera, self.limit = str(source), camera, limit
        self._capture = cv2.VideoCapture(int(source) if camera else str(source))
        if not self._capture.isOpened():
            self._capture.release()
            raise DataFileError(self._closed())
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = float(fps) if np.isfinite(fps) and 0 < fps <= 1000 else _USUAL_FPS
        count = 0 if camera else int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        count = count if count > 0 else None
        self.expected = limit if count is None else min(count, limit or count)
        self.read = 0
        self.problem = ''

    def __iter__(self) -> Iterator[np.ndarray]:
        try:
            while self.limit is None or self.read < self.limit:
                there, frame = self._capture.read()
                if not there:
                    self.problem = self._ended()
                    return
                self.read += 1
                yield frame
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the file or the camera."""
        self._capture.release()

    def _ended(self) -> str:
        if self.camera:
            return f'camera {self.source} gave no more after {self.read} frames'
        if not self.read:
            return f'{self.source}: no frame of this video can be decoded'
        missing = (self.expected or 0) - self.read
        if missing <= max(1, _SLACK * (self.expected or 0)):
            return ''
        return (
            f'{self.source}: ends early, {self.read} of its {self.expected} frames can be read. '
            'The file was cut off: copy it again'
        )

    def _closed(self) -> str:
        if self.camera:
            found = sorted(path.name.removeprefix('video') for path in _devices())
            seen = f'Cameras of this machine: {", ".join(found)}.' if found else (
                'This machine shows no camera.'
            )  # fmt: skip
            return (
                f'camera {self.source} cannot be opened. {seen} A file of this name is not there.'
            )
        return (
            f'{self.source}: is no video that can be decoded. It may be cut off, or have a codec '
            'that OpenCV lacks; convert it: ffmpeg -i FILE -c:v libx264 NEW.mp4'
        )


def _devices() -> list[Path]:
    return [path for path in Path('/dev').glob('video*') if path.name[5:].isdecimal()]


def _quiet() -> None:
    """Readers of videos tell the terminal, not the caller, what they do not like."""
    os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')
    os.environ.setdefault('OPENCV_VIDEOIO_DEBUG', '0')
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
