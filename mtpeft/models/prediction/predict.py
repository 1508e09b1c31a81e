"""Predictions of pictures: each is the one that the picture has alone."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mtpeft.models.data_preprocessor import pad
from mtpeft.models.prediction.options import TestOptions
from mtpeft.models.prediction.rules import averaged, finished, upright
from mtpeft.models.prediction.slide import windows
from mtpeft.models.prediction.strips import Resizing
from mtpeft.structures import MultiTaskDataSample
from mtpeft.structures.levels import resize
from mtpeft.tasks import DenseTask

Size = tuple[int, int]


class Network(NamedTuple):
    """What predictions are made with.

    Attributes:
        logits: Logits by task, at the resolution of the heads, of ``(B, 3, H, W)``.
        padded: The size that pictures of a size are padded to.
    """

    logits: Callable[[Tensor], dict[str, Tensor]]
    padded: Callable[[Size], Size]

    def at_input(self, inputs: Tensor) -> dict[str, Tensor]:
        """Logits ``(B, C, H, W)`` by task, at the size of the pictures, in float32 or wider."""
        height, width = inputs.shape[-2:]
        size = self.padded((height, width))
        return {name: resize(wide(x), size)[..., :height, :width]
                for name, x in self.logits(inputs).items()}  # fmt: skip


class Sizes(NamedTuple):
    """Height and width of a picture, and of what is predicted for it."""

    picture: Size
    target: Size


def sizes_of(sample: MultiTaskDataSample, inputs: Tensor) -> Sizes:
    """Of a sample in the batch ``inputs``: a prediction is as large as the labels, if any."""
    height, width = sample.get('img_shape', inputs.shape[-2:])[:2]
    labels = list(sample.gt.values())
    if labels:
        target = sample.get('label_shape') or labels[0].shape[-2:]
    else:
        target = sample.get('ori_shape') or (height, width)
    return Sizes((height, width), tuple(target)[:2])


class Prediction(NamedTuple):
    """What is predicted for a task and a picture.

    Attributes:
        values: ``(C, H, W)``, see :meth:`DenseTask.predict <mtpeft.tasks.DenseTask.predict>`.
        probabilities: Of the classes, ``(C, H, W)``; ``None`` where they were not asked for.
    """

    values: Tensor
    probabilities: Tensor | None


def wide(logits: Tensor) -> Tensor:
    """In float32 or wider: interpolated half-precision logits would be rounded twice."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def predictions(
    inputs: Tensor,
    sizes: Sequence[Sizes],
    tasks: Mapping[str, DenseTask],
    network: Network,
    options: TestOptions,
    probabilities: bool = False,
) -> Iterator[tuple[int, dict[str, Prediction]]]:
    """Predictions of the pictures of a batch, each with its number.

    A picture is cut out of the batch, and shares a pass only with pictures that are padded to the
    size that it is padded to alone: what others there are does not change it.

    Args:
        inputs: ``(B, 3, H, W)``.
        sizes: Of each picture in it, at the upper left, and of its prediction.
        tasks: The tasks.
        network: See :class:`Network`.
        options: Windows and views.
        probabilities: Whether probabilities of classes are wanted too.
    """
    shapes = [size.picture for size in sizes]
    for members, whole in _groups(shapes, network, options):
        batch = _batch(inputs, members, shapes, whole)
        logits = {}
        if whole is not None:
            run = network.logits if not options.augmented else _views_of(tasks, network, options)
            logits = run(batch)
        for place, index in enumerate(members):
            maps = {name: _Map(task, sizes[index], options.augmented, probabilities)
                    for name, task in tasks.items()}  # fmt: skip
            if whole is None:
                run = _views_of(tasks, network, options)
                crop, stride, number = options.crop, options.stride, options.batch_size
                for strips in windows(batch, crop, stride, run, number):
                    for name, strip in strips.items():
                        maps[name].push(strip)
            for name, x in logits.items():
                maps[name].push_whole(x[place : place + 1], whole)
            yield index, {name: made.prediction() for name, made in maps.items()}


def _groups(
    sizes: Sequence[Size], network: Network, options: TestOptions
) -> Iterator[tuple[list[int], Size | None]]:
    """Pictures of one pass with the size it has; a picture alone and ``None`` for windows."""
    groups: dict[Size, list[int]] = {}
    for index, size in enumerate(sizes):
        if options.in_windows(size):
            yield [index], None
        else:
            # (a mirrored picture is padded after it was mirrored, so all have to have one size)
            key = size if options.augmented else network.padded(size)
            groups.setdefault(key, []).append(index)
    yield from ((members, size) for size, members in groups.items())


def _batch(
    inputs: Tensor, members: Sequence[int], sizes: Sequence[Size], size: Size | None
) -> Tensor:  # fmt: skip
    """The pictures of a pass, each padded with 0 to its size (``None``: its own)."""
    shape = tuple(inputs.shape[-2:])
    if len(members) == len(inputs) and all(tuple(s) == shape for s in sizes):
        return inputs  # (the network pads by itself)
    pictures = (inputs[i, :, : sizes[i][0], : sizes[i][1]] for i in members)
    return torch.stack([picture if size is None else pad(picture, size) for picture in pictures])


def _views_of(
    tasks: Mapping[str, DenseTask], network: Network, options: TestOptions
) -> Callable[[Tensor], dict[str, Tensor]]:
    """What makes of pictures ``(n, 3, h, w)`` what is averaged, over all views of them."""

    def run(pictures: Tensor) -> dict[str, Tensor]:
        size, sums = tuple(pictures.shape[-2:]), {}
        for scale, mirrored in options.views:
            view = resize(pictures, [max(1, round(side * scale)) for side in size])
            for name, x in network.at_input(view.flip(-1) if mirrored else view).items():
                x = resize(upright(tasks[name], x, scale, mirrored), size)
                x = averaged(tasks[name], x, options.augmented)
                sums[name] = sums[name] + x if name in sums else x
        return {name: x / len(options.views) for name, x in sums.items()}

    return run


class _Map:
    """The prediction of one task for one picture, from strips of logits, or of what is averaged."""

    def __init__(
        self, task: DenseTask, sizes: Sizes, views: bool, probabilities: bool
    ) -> None:  # fmt: skip
        self.task, self.size, self.views = task, sizes.picture, views
        self.wanted = probabilities and task.activation == 'argmax'
        self._averaged = True
        self._resizing = Resizing(*sizes)
        self._made: list[Tensor] = []
        self._probabilities: list[Tensor] = []

    def push(self, strip: Tensor) -> None:
        """Rows of what is averaged, at the size of the picture."""
        for rows in self._resizing.push(strip):
            finish = finished if self._averaged else DenseTask.predict
            self._made.append(finish(self.task, rows))
            if self.wanted:
                self._probabilities.append(rows if self.views else rows.softmax(1))

    def push_whole(self, x: Tensor, padded: Size) -> None:
        """The map of a whole picture: logits of the padded one, or what is averaged over views."""
        self._averaged = self.views
        if self.views:
            self.push(x)
            return
        rows = self.size[0]
        for strip in Resizing(tuple(x.shape[-2:]), padded).push(wide(x)):
            if rows > 0:
                self.push(strip[:, :, :rows, : self.size[1]])
            rows -= strip.shape[2]

    def prediction(self) -> Prediction:
        """All of it."""
        chances = torch.cat(self._probabilities, 2)[0] if self.wanted else None
        return Prediction(torch.cat(self._made, 2)[0], chances)
