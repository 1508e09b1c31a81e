"""How the multiply-adds of an inference are shared among the parts of a model."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from mtpeft.benchmark.components import REST, Stopwatch, watching
from mtpeft.benchmark.operations import counting
from mtpeft.benchmark.steps import inference

_OF_OURS = ('backbone', 'necks', 'decoder', 'losses')


def part_operations(model: nn.Module, inputs: Tensor) -> dict[str, int]:
    """Multiply-adds of each part of an inference, in the order in which the parts ran.

    Of a ``MultiTaskModel`` the parts are those of
    :func:`~mtpeft.benchmark.component_times`: the stem, blocks without lanes (shared by all tasks),
    blocks with lanes (their shared pass and those of the tasks), merging, necks, heads. Of any
    other model they are its modules of the first level, such as ``backbone`` and ``decode_head``.
    What is counted is said in :func:`~mtpeft.benchmark.multiply_adds`.

    Args:
        model: Takes pictures alone, ``model(inputs)``.
        inputs: Normalised pictures ``(B, C, H, W)``.

    Example:
        >>> import torch
        >>> net = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.Conv2d(2, 3, 1, bias=False))
        >>> part_operations(net, torch.ones(1, 1, 4, 4))
        {'0': 32, '1': 96}
    """
    ours = all(hasattr(model, name) for name in _OF_OURS)
    call = inference(model, inputs)
    call.prepare()
    with counting() as counted:
        watch = Stopwatch(inputs.device, clock=counted)
        with watching(model, watch) if ours else _watching_children(model, watch), watch.part(REST):
            call.function()
    return {part: int(count) for part, count in watch.seconds.items() if count}


@contextmanager
def _watching_children(model: nn.Module, watch: Stopwatch) -> Iterator[None]:
    with ExitStack() as stack:
        for name, module in model.named_children():
            # in place of hooks: a segmentor of mmsegmentation calls decode_head.forward
            module.forward = _counted(module.forward, watch, name)
            stack.callback(delattr, module, 'forward')
        yield


def _counted(forward: Callable, watch: Stopwatch, name: str) -> Callable:
    def counted(*args: Any, **kwargs: Any) -> Any:
        with watch.part(name):
            return forward(*args, **kwargs)

    return counted
