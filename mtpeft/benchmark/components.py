"""How the time of a step is shared among the parts of a model."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from mtpeft.benchmark.batch import fresh
from mtpeft.benchmark.rounds import CLOCKS, spread, synchronize
from mtpeft.models.backbones import AdapterBackbone

STEM, SHARED, LANES, MERGING = 'stem', 'shared blocks', 'lane blocks', 'merging'
REST_OF_BACKBONE, REST = 'rest of the backbone', 'rest of the forward pass'
NECKS, HEADS, LOSSES = 'necks', 'heads', 'losses'
PREPROCESSING, BACKWARD, OPTIMIZER = 'preprocessing', 'backward pass', 'optimizer step'
#: Methods of a family that are parts. A merging whose linear map is joined to the projections ends
#: before that map, which then counts for the necks.
_METHODS = dict(stem=STEM, run_merge=MERGING, before_reduction=MERGING)


class Stopwatch:
    """Seconds of nested parts, each without the parts inside it.

    Args:
        device: Is waited for before the clock is read.
        clock: One of ``CLOCKS``, or a function whose value is read in place of a time.

    Example:
        >>> watch = Stopwatch()
        >>> with watch.part('outer'):
        ...     with watch.part('inner'):
        ...         pass
        >>> sorted(watch.seconds)
        ['inner', 'outer']
    """

    def __init__(
        self, device: torch.device | str = 'cpu', clock: str | Callable[[], float] = 'wall'
    ) -> None:
        self.device = device
        self.seconds: dict[str, float] = {}
        self._read = clock if callable(clock) else CLOCKS[clock]
        self._open: list[str] = []
        self._whole = False
        self._since = 0.0

    @contextmanager
    def part(self, name: str, whole: bool = False) -> Iterator[None]:
        """A part; with ``whole`` what is inside it counts for it."""
        if self._whole:
            yield
            return
        self.enter(name)
        self._whole = whole
        try:
            yield
        finally:
            self._whole = False
            self.leave()

    def enter(self, name: str) -> None:
        """Begin a part, inside the one that is open."""
        if not self._whole:
            self._charge()
            self._open.append(name)
            self.seconds.setdefault(name, 0.0)

    def leave(self) -> None:
        """End the part that began last."""
        if not self._whole:
            self._charge()
            self._open.pop()

    def _charge(self) -> None:
        synchronize(self.device)
        now = self._read()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now


class _Timed:
    """A callable that is a part, and in all else is what it stands for."""

    def __init__(self, target: Callable, watch: Stopwatch, name: str) -> None:
        self.target, self.watch, self.name = target, watch, name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with self.watch.part(self.name):
            return self.target(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.target, name)


@contextmanager
def watching(model: nn.Module, watch: Stopwatch) -> Iterator[None]:
    """Let ``watch`` see the parts of a ``MultiTaskModel``, whatever its backbone is."""
    with ExitStack() as stack:
        for module, name in _modules(model):
            handles = (
                module.register_forward_pre_hook(lambda *_, name=name: watch.enter(name)),
                module.register_forward_hook(lambda *_: watch.leave()),
            )
            for handle in handles:
                stack.callback(handle.remove)
        backbone = model.backbone
        if isinstance(backbone, AdapterBackbone):
            for attribute, name in _METHODS.items():
                method = getattr(backbone.family, attribute)
                setattr(backbone.family, attribute, _Timed(method, watch, name))
                stack.callback(delattr, backbone.family, attribute)
            streams, lanes = backbone.streams, backbone.lanes
            streams.lanes = {key: _Timed(lane, watch, LANES) for key, lane in lanes.items()}
            stack.callback(setattr, streams, 'lanes', lanes)
        yield


def _modules(model: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    yield model.backbone, REST_OF_BACKBONE
    yield from ((neck, NECKS) for neck in model.necks)
    yield model.decoder, HEADS
    yield from ((loss, LOSSES) for loss in model.losses.values())
    if isinstance(model.backbone, AdapterBackbone):
        for stage in model.backbone.family.stages:
            for name in stage.blocks:
                if name not in model.backbone.lanes:
                    yield model.backbone.network.get_submodule(name), SHARED


def component_times(
    model: nn.Module,
    wrapper: OptimWrapper,
    batch: Mapping,
    device: torch.device | str = 'cpu',
    steps: int = 10,
    warmup: int = 1,
    clock: str = 'wall',
) -> dict[str, dict[str, float]]:
    """Median seconds of each part of a training step and of an inference.

    A pass of its own, since reading the clock at the borders of parts makes a GPU wait. A lane
    block counts with all that it does: its shared pass, forming task weights, the lanes. The rest
    of the forward pass is padding and bringing logits to the size of the labels.

    Returns:
        ``train`` and ``inference``: seconds by part, in the order in which they ran.
    """
    runs = {'train': [], 'inference': []}
    for _ in range(warmup + steps):
        with _watch(model, device, clock, runs['train']) as watch:
            model.train()
            _train(model, wrapper, fresh(batch), watch)
        with _watch(model, device, clock, runs['inference']) as watch:
            model.eval()
            with watch.part(REST), torch.no_grad():
                model.test_step(fresh(batch))
    return {
        name: {part: spread([s[part] for s in seconds[warmup:]])['median'] for part in seconds[0]}
        for name, seconds in runs.items()
    }


@contextmanager
def _watch(
    model: nn.Module, device: torch.device | str, clock: str, record: list[dict[str, float]]
) -> Iterator[Stopwatch]:
    watch = Stopwatch(device, clock)
    with watching(model, watch):
        yield watch
    record.append(watch.seconds)


def _train(model: nn.Module, wrapper: OptimWrapper, batch: dict, watch: Stopwatch) -> None:
    with wrapper.optim_context(model):
        with watch.part(PREPROCESSING):
            data = model.data_preprocessor(batch, True)
        with watch.part(REST):
            losses = model(**data, mode='loss')
            loss, _ = model.parse_losses(losses)
    # blocks that are computed again in the backward pass belong to it
    with watch.part(BACKWARD, whole=True):
        wrapper.backward(wrapper.scale_loss(loss))
    with watch.part(OPTIMIZER):
        wrapper.step()
        wrapper.zero_grad()
