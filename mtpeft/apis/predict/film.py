"""A drawing of each frame as a video."""

import os
import tempfile
from pathlib import Path

import cv2
import numpy as np

_CODEC = 'mp4v'  # MPEG-4, which every build of OpenCV can write


class Film:
    """Writes frames of one size into an mp4 file.

    The file gets its name when it is whole; what was written until a stop is whole too.

    Args:
        path: The file.
        fps: Frames a second.

    Raises:
        OSError: the video cannot be written.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self.path, self.fps, self.frames = path, fps, 0
        handle, temporary = tempfile.mkstemp(
            prefix=f'.{path.stem}.', suffix=path.suffix, dir=path.parent
        )
        os.close(handle)
        self._temporary = Path(temporary)
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)

    def add(self, rgb: np.ndarray) -> None:
        """The next frame, ``(H, W, 3)`` uint8, RGB; each is as large as the first."""
        if self._writer is None:
            self._open(rgb)
        height, width = self._size
        # (MPEG-4 wants even sides)
        canvas = np.full((height, width, 3), 255, np.uint8)
        rows, columns = min(height, rgb.shape[0]), min(width, rgb.shape[1])
        canvas[:rows, :columns] = rgb[:rows, :columns, ::-1]
        self._writer.write(canvas)
        self.frames += 1

    def close(self) -> None:
        """Finish the file; without a frame there is none.

        Raises:
            OSError: fewer frames are in the file than were written, as on a full disk.
        """
        try:
            if self._writer is not None:
                self._writer.release()
                self._check()
                mask = os.umask(0)
                os.umask(mask)
                os.chmod(self._temporary, 0o666 & ~mask)
                os.replace(self._temporary, self.path)
        finally:
            self._temporary.unlink(missing_ok=True)

    def _open(self, rgb: np.ndarray) -> None:
        self._size = tuple(side + side % 2 for side in rgb.shape[:2])
        height, width = self._size
        self._writer = cv2.VideoWriter(
            str(self._temporary), cv2.VideoWriter_fourcc(*_CODEC), self.fps, (width, height)
        )
        if not self._writer.isOpened():
            raise OSError(
                f'{self.path}: OpenCV cannot write a video of {width} x {height} at {self.fps:g} '
                f'frames a second with the codec {_CODEC}. --save maps writes '
                'pictures instead.'
            )

    def _check(self) -> None:
        capture = cv2.VideoCapture(str(self._temporary))
        found = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
        capture.release()
        if found != self.frames:
            raise OSError(
                f'{self.path}: {found} of {self.frames} frames could be written. Is the disk full?'
            )
