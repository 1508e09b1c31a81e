"""An exported file compared with its model: what differs, and how long each takes."""

import statistics
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mtpeft.benchmark.rounds import time_in_turns
from mtpeft.export.exportable import Exportable
from mtpeft.export.runtimes import Run


@dataclass(frozen=True)
class Difference:
    """How the maps of one task differ.

    Attributes:
        task: Its name.
        largest: Largest difference, as a share of the range of the model's values. Of classes:
            the largest margin between the model's two best logits, as a share of the range of
            logits, of the pixels that differ: there the two tie but for rounding.
        pixels: Of classes: share of the pixels that differ.
    """

    task: str
    largest: float
    pixels: float | None = None

    def __str__(self) -> str:
        if self.pixels is None:
            return f'{self.largest:.1e} of the range at most'
        if not self.pixels:
            return 'no pixel differs'
        return (
            f'{100 * self.pixels:.4f} % of the pixels differ, where the two best logits are within '
            f'{self.largest:.1e} of their range'
        )


@torch.no_grad()
def differences(module: Exportable, run: Run, pictures: np.ndarray) -> list[Difference]:
    """What differs between a module and the file that was made of it.

    Args:
        module: What was exported, or the same in another precision.
        run: Runs the file, see :func:`~mtpeft.export.runtimes.runner_of`.
        pictures: As the module takes them.
    """
    found, logits = run(pictures), module.logits(torch.from_numpy(pictures))
    rows = []
    for name, maps in module.maps(logits).items():
        if module.tasks[name].activation == 'argmax' and not module.raw:
            rows.append(_of_classes(name, found[name], maps.numpy(), logits[name]))
        else:
            rows.append(_of_values(name, found[name], maps.numpy()))
    return rows


def _of_values(name: str, found: np.ndarray, expected: np.ndarray) -> Difference:
    _check_shapes(name, found, expected)
    span = float(expected.max() - expected.min()) or 1.0
    return Difference(name, float(np.abs(found - expected).max()) / span)


def _of_classes(
    name: str, found: np.ndarray, expected: np.ndarray, logits: Tensor
) -> Difference:  # fmt: skip
    _check_shapes(name, found, expected)
    wrong = found != expected
    if not wrong.any():
        return Difference(name, 0.0, 0.0)
    best = logits.topk(2, dim=1).values
    margin = (best[:, 0] - best[:, 1])[torch.from_numpy(wrong)]
    span = float(logits.max() - logits.min()) or 1.0
    return Difference(name, float(margin.max()) / span, float(wrong.mean()))


def _check_shapes(name: str, found: np.ndarray, expected: np.ndarray) -> None:
    if found.shape != expected.shape:
        raise RuntimeError(
            f"Task '{name}': the file gives {found.shape}, the model {expected.shape}. This is a "
            'fault of the export.'
        )


@dataclass(frozen=True)
class Latency:
    """Milliseconds for one picture, of both in one run.

    Attributes:
        exported: Of the file.
        eager: Of the model in PyTorch, merged too.
        ratio: Median of their ratios, round by round.
        threads: Threads of both.
    """

    exported: float
    eager: float
    ratio: float
    threads: int

    def __str__(self) -> str:
        return (
            f'{self.exported:.1f} ms for a picture, PyTorch {self.eager:.1f} ms (both merged, '
            f'{self.threads} thread{"s" * (self.threads > 1)}): {self.ratio:.2f} of it'
        )


def latency(module: Exportable, run: Run, picture: np.ndarray, rounds: int = 7) -> Latency:
    """How long the file takes beside its model, in turns.

    Args:
        module: What was exported.
        run: Runs the file on as many threads as torch has.
        picture: One picture, as the module takes it.
        rounds: Rounds that count.
    """
    given, threads = torch.from_numpy(picture), torch.get_num_threads()
    functions = dict(exported=lambda: run(picture), eager=lambda: module(given))
    with torch.no_grad():
        times = time_in_turns(functions, rounds, clock='cpu' if threads == 1 else 'wall')
    ratios = [a / b for a, b in zip(times['exported'], times['eager'], strict=True)]
    exported, eager = (1000 * statistics.median(times[name]) for name in functions)
    return Latency(exported, eager, statistics.median(ratios), threads)
