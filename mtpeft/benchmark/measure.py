"""What a config's training step and inference cost, as MMEngine's loops run them."""

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from mtpeft.benchmark.batch import fresh
from mtpeft.benchmark.memory import peak_of_process
from mtpeft.benchmark.rounds import Call, spread, time_in_turns
from mtpeft.benchmark.steps import in_evaluation
from mtpeft.benchmark.variants import merge


def runner_step(model: nn.Module, wrapper: OptimWrapper, batch: dict) -> Call:
    """A training step: preprocessing, losses, backward pass, clipping, optimizer."""
    return Call(lambda: model.train_step(fresh(batch), wrapper), prepare=model.train)


def runner_inference(model: nn.Module, batch: dict) -> Call:
    """Preprocessing and predictions of every task at the size of the labels."""

    def infer() -> None:
        with torch.no_grad():
            model.test_step(fresh(batch))

    return Call(infer, prepare=lambda: in_evaluation(model, infer))


def measure(
    model: nn.Module,
    wrapper: OptimWrapper,
    batch: dict,
    device: torch.device,
    steps: int,
    warmup: int,
    clock: str = 'wall',
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
    calls = dict(train=runner_step(model, wrapper, batch), inference=runner_inference(model, batch))
    result = {}
    for name, call in calls.items():
        # one after the other: a run is a run of steps, or of inferences
        result[name] = _speed(call, number, device, steps, warmup, clock)
    peak = torch.cuda.max_memory_allocated(device) if on_gpu else peak_of_process()
    return dict(**result, peak_memory_mb=peak / 2**20)


def measure_merged(
    model: nn.Module,
    batch: dict,
    device: torch.device,
    steps: int,
    warmup: int,
    clock: str = 'wall',
) -> dict[str, float]:
    """``seconds`` and ``pictures_per_second`` of inference; the adapters stay merged.

    Raises:
        ValueError: the model has no ``merge_adapters()``.
    """
    call = runner_inference(merge(model.eval()), batch)
    return _speed(call, len(batch['inputs']), device, steps, warmup, clock)


def _speed(
    call: Call, number: int, device: torch.device, steps: int, warmup: int, clock: str
) -> dict[str, float]:
    seconds = spread(time_in_turns({'': call}, steps, warmup, device, clock)[''])['median']
    return dict(seconds=seconds, pictures_per_second=number / seconds)
