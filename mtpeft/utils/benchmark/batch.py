"""Time and memory of training and inference."""

import resource
import statistics
import sys
import time
from collections.abc import Callable

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from mtpeft.structures import MultiTaskDataSample
from mtpeft.tasks import DenseTask


def random_batch(tasks: dict[str, DenseTask], batch_size: int, size: tuple[int, int]) -> dict:
    """A collated batch of noise with labels of every task, each valid everywhere."""
    generator = torch.Generator().manual_seed(0)
    inputs, samples = [], []
    for _ in range(batch_size):
        picture = torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8)
        sample = MultiTaskDataSample(metainfo=dict(img_shape=size, ori_shape=size))
        for name, task in tasks.items():
            sample.set_gt(name, _random_label(task, size, generator))
        inputs.append(picture)
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def _random_label(
    task: DenseTask, size: tuple[int, int], generator: torch.Generator
) -> torch.Tensor:  # fmt: skip
    shape = (task.label_channels, *size)
    if task.kind in ('classes', 'binary'):
        high = task.channels if task.kind == 'classes' else 2
        return torch.randint(0, high, shape, generator=generator)
    values = torch.rand(shape, generator=generator) + 0.5
    return nn.functional.normalize(values, dim=0) if task.kind == 'vectors' else values


def measure(
    model: nn.Module,
    wrapper: OptimWrapper,
    batch: dict,
    device: torch.device,
    steps: int,
    warmup: int,
) -> dict:
    """Median seconds of a training step and of inference, pictures per second, peak memory.

    Returns:
        ``train`` and ``inference``, each with ``seconds`` and ``pictures_per_second``, and
        ``peak_memory_mb``: on a GPU what tensors took at most, on a CPU the process as a whole.
    """
    number = len(batch['inputs'])
    on_gpu = device.type == 'cuda'
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    model.train()
    train = _median(lambda: model.train_step(_fresh(batch), wrapper), on_gpu, steps, warmup)
    model.eval()

    def infer() -> None:
        with torch.no_grad():
            model.test_step(_fresh(batch))

    inference = _median(infer, on_gpu, steps, warmup)
    peak = torch.cuda.max_memory_allocated(device) if on_gpu else _peak_of_process()
    return dict(
        train=dict(seconds=train, pictures_per_second=number / train),
        inference=dict(seconds=inference, pictures_per_second=number / inference),
        peak_memory_mb=peak / 2**20,
    )


def _fresh(batch: dict) -> dict:
    # the preprocessor pads the labels of the samples it gets
    return dict(inputs=batch['inputs'], data_samples=[s.clone() for s in batch['data_samples']])


def _median(function: Callable[[], object], on_gpu: bool, steps: int, warmup: int) -> float:
    times = []
    for _ in range(warmup + steps):
        start = time.perf_counter()
        function()
        if on_gpu:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times[warmup:])


def _peak_of_process() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == 'darwin' else peak * 1024
