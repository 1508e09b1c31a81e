"""Run one block for the shared stream and, at once, for every task.

The block is not rewritten. Three ways lead through it:

* ``vmap`` (default): a pass of the shared stream, in which every adapted layer may remember
  something, then one pass under ``torch.vmap`` over the stacked task parameters. vmap is lazy:
  what does not depend on the task is computed once. Of a block whose steps are known, lanes pass
  what follows attention only; on a CPU in turn, where they only add to the shared stream.
* ``fold``: shared stream and lanes lie behind one another on the batch axis of a single pass;
  needed where the shared stream reads the lanes (MTLoRA's ``addition``).
* ``loop``: the lane pass task by task; the plain form the other two are tested against.
"""

import contextlib
from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from mtpeft.adapters.base import Adapter, Remembered
from mtpeft.adapters.layers import AdapterLayer, AdapterModule
from mtpeft.ops.gelu_low_rank_add import LowRankSum, made
from mtpeft.utils.torch_private import is_batched as _is_batched

LANE_STRATEGIES = ('vmap', 'fold', 'loop')


class BehindAttention(Protocol):
    """The steps of a block from the layer behind attention on."""

    @property
    def first(self) -> nn.Module:
        """The first layer that is passed."""

    def before(self) -> list[nn.Module]:
        """The modules of attention before it, dropout included."""

    def arrange(self, x: Tensor, windows: Tensor) -> Tensor:
        """Rows of ``first``'s input or output in the order of those of the block's input ``x``."""

    def __call__(self, x: Tensor, attended: Tensor, arranged: bool = False) -> Tensor:
        """The block's output, of its input ``x`` and the input ``attended`` of ``first``."""


class _SharedPass:
    """Stream of a lane block's shared pass: records what the lanes will want."""

    def __init__(
        self,
        names: dict[AdapterLayer, str],
        copied: Container[str],
        kept: AdapterLayer | None = None,
    ) -> None:
        self.names = names
        self.copied = copied
        self.kept = kept
        self.memory: dict[str, Remembered] = {}

    def __call__(self, layer: AdapterLayer, x: Tensor) -> Tensor:
        out, lane_input = layer.adapter.shared_and_memory(layer, x)
        name = self.names[layer]
        keep = layer is self.kept or torch.is_grad_enabled() and x.requires_grad
        self.memory[name] = Remembered(out, lane_input, x if keep else None)
        return out.clone() if name in self.copied else out


class _LanePass:
    """Stream of one lane: task layers use the task's parameters, the others what was recorded.

    A layer without lanes whose input does not depend on the task returns its remembered output:
    nothing adapted is computed twice, and its dropout is the one of the shared pass. The first
    layer with lanes goes on from the shared pass's input, so attention is run backwards once.

    Attributes:
        diverged: Has a layer with lanes been passed, or something been drawn for this lane? Then no
            input is the shared stream's.
    """

    def __init__(
        self,
        names: dict[AdapterLayer, str],
        params: dict[str, dict[str, Tensor]],
        memory: dict[str, Remembered],
        copied: Container[str],
        diverged: bool,
    ) -> None:
        self.names = names
        self.copied = copied
        self.params = params
        self.memory = memory
        self.diverged = diverged

    def __call__(self, layer: AdapterLayer, x: Tensor) -> Tensor:
        name = self.names[layer]
        remembered = self.memory.get(name)  # none where there was no shared pass
        as_shared = not self.diverged and not _is_batched(x)
        if name in self.params:
            self.diverged = True
            memory = remembered and remembered.lane_input
            if layer.adapter.memory_is_input and not as_shared:
                memory = None
            if as_shared and remembered and remembered.input is not None:
                # the same numbers; what this pass computed them with need not be passed backwards
                x = remembered.input
            return layer.adapter.lane(layer, x, self.params[name], memory)
        if as_shared and remembered:
            return remembered.output.clone() if name in self.copied else remembered.output
        return layer.adapter(layer, x)

    def unmade(self, layer: AdapterLayer, x: Tensor) -> Tensor | LowRankSum:
        """``self(layer, x)``, or what it is the sum of."""
        if not self._passes_alone(layer, x):
            return self(layer, x)
        return layer.adapter.lane_unmade(layer, x, *self._own(layer))

    def after(self, layer: AdapterLayer, activation: nn.Module, x: Tensor | LowRankSum) -> Tensor:
        """``self(layer, activation(x))``."""
        if not self._passes_alone(layer, x):
            return self(layer, activation(made(x)))
        return layer.adapter.lane_after(layer, activation, x, *self._own(layer))

    def _passes_alone(self, layer: AdapterLayer, x: Tensor | LowRankSum) -> bool:
        """Does one lane, with an input of its own, pass a layer with lanes?"""
        batched = isinstance(x, Tensor) and _is_batched(x)
        return self.names[layer] in self.params and self.diverged and not batched

    def _own(self, layer: AdapterLayer) -> tuple[dict[str, Tensor], Tensor | None]:
        """The lane's parameters, and what the shared pass left for it."""
        name = self.names[layer]
        remembered = self.memory.get(name)
        kept = remembered and not layer.adapter.memory_is_input
        return self.params[name], remembered.lane_input if kept else None


class _FoldedPass:
    """Stream of a folded pass: the batch axis holds the shared stream, then each lane."""

    def __init__(self, tasks: Sequence[int], diverged: bool) -> None:
        self.tasks = tasks
        self.diverged = diverged

    def __call__(self, layer: AdapterLayer, x: Tensor) -> Tensor:
        adapter = layer.adapter
        if not adapter.tasks:
            return adapter(layer, x)
        shared, *lanes = x.chunk(1 + len(self.tasks))
        params = adapter.lane_slices(layer, self.tasks)
        if isinstance(layer, AdapterModule):
            # what is inside sees all streams, as everywhere in a folded pass
            out, *passed = layer.frozen(x).chunk(1 + len(self.tasks))
            self.diverged = True
            own = zip(lanes, params, passed, strict=True)
            return torch.cat([out, *(adapter.lane(layer, *values) for values in own)])
        if adapter.shared_reads_lanes:
            memory = layer.frozen(shared)
        else:
            out, memory = adapter.shared_and_memory(layer, shared)
        if adapter.memory_is_input and self.diverged:
            memory = None
        self.diverged = True
        lanes = [adapter.lane(layer, x_t, p, memory) for x_t, p in zip(lanes, params, strict=True)]
        if adapter.shared_reads_lanes:
            out = adapter.shared_from_lanes(layer, shared, lanes)
        return torch.cat([out, *lanes])


class LaneBlock:
    """A block with task lanes.

    Args:
        block: The block. A DropPath of timm or mmcv inside it is replaced by an equal one that
            works under vmap and knows the lane that it draws for.
        tasks: The lanes' names, in the order of the task axis.
        run: ``run(block, x)`` calls the block.
        strategy: One of :data:`LANE_STRATEGIES`; ``'vmap'`` falls back to ``'fold'`` where the
            shared stream reads the lanes.
        copied: Names of layers whose output the block changes in place.
        behind: What of the block lies behind attention, for lanes that are the shared stream up to
            there; ``None``: they pass the whole block.
    """

    def __init__(
        self,
        block: nn.Module,
        tasks: Sequence[str],
        run: Callable[[nn.Module, Tensor], Tensor],
        strategy: str = 'vmap',
        copied: Container[str] = (),
        behind: BehindAttention | None = None,
    ) -> None:
        self.block = block
        self.copied = copied
        self.behind = behind
        self.tasks = tuple(tasks)
        self.run = run
        replace_drop_path(block)
        self.find_layers()
        self.reads_lanes = any(m.adapter.shared_reads_lanes for m in self.layers.values())
        self.strategy = 'fold' if self.reads_lanes else strategy

    def find_layers(self) -> None:
        """Look up the block's adapted layers, again where some were replaced."""
        named = dict(self.block.named_modules())
        self.layers = {n: m for n, m in named.items() if isinstance(m, AdapterLayer)}
        own = [m for n, m in named.items() if '.adapter.' not in f'.{n}.']
        self._dropouts = [m for m in own if isinstance(m, nn.modules.dropout._DropoutNd)]
        self._paths = [m for m in own if isinstance(m, LaneDropPath)]
        self._others = [m for m in own if hasattr(m, 'drop_prob') and m not in self._paths]
        self._convolves = any(isinstance(m, nn.Conv2d) for m in named.values())

    @property
    def task_layers(self) -> dict[str, AdapterLayer]:
        """The layers with task parameters, in the order of the block's modules."""
        return {name: layer for name, layer in self.layers.items() if layer.adapter.tasks}

    def copies(self, tasks: Sequence[int] | None = None) -> int:
        """How often the block sees each picture on its batch axis, for some tasks or for all."""
        return 1 + len(self._folded(tasks)) if self.strategy == 'fold' else 1

    def _folded(self, tasks: Sequence[int] | None) -> Sequence[int]:
        """The lanes of a folded pass: all where the shared stream is made of them."""
        every = range(len(self.tasks))
        return every if tasks is None or self.reads_lanes else tasks

    def __call__(
        self, x: Tensor, tasks: Sequence[int] | None = None, shared: bool = True
    ) -> tuple[Tensor | None, Tensor | list[Tensor]]:
        """Run the block.

        Args:
            x: The block's input ``(B, ...)``, the same for all.
            tasks: Positions of the tasks whose lanes are wanted, in their order; all by default.
            shared: ``False``: nobody reads the shared stream's output, so it is left out where
                the lanes can do without its pass.

        Returns:
            The shared stream's output ``(B, ...)``, or ``None`` where it was left out, and the
            lanes' ``(T, B, ...)``, in a list where they were run in turn.
        """
        if self.strategy == 'fold':
            return self._fold(x, tasks)
        names = {layer: name for name, layer in self.layers.items()}
        behind = self.behind if self._starts_behind_attention else None
        recorder = _SharedPass(names, self.copied, behind and behind.first)
        count = len(self.tasks) if tasks is None else len(tasks)
        out = None
        if shared or not self._lanes_alone:
            with self._streaming(recorder):
                out = self.run(self.block, x)
        if not recorder.memory:  # nothing to start from: the lanes pass attention, computed once
            behind = None
        in_turn = behind is not None and self._faster_in_turn(x)
        arranged = behind is not None and count > 1
        arranged = arranged and _arrange(behind, x, recorder.memory, names[behind.first])

        def passed(memory: dict) -> Tensor:
            if behind:
                return behind(x, memory[names[behind.first]].input, arranged)
            return self.run(self.block, x)

        def lane(params: dict, memory: dict) -> Tensor:
            params = {n: {**p, **constants[n]} for n, p in params.items()}
            with self._streaming(_LanePass(names, params, memory, self.copied, False)):
                return passed(memory)

        def one_lane(params: dict) -> Tensor:
            stream = _LanePass(names, params, recorder.memory, self.copied, self._drops)
            with self._streaming(stream), self._marking(stream):
                return passed(recorder.memory)

        layers = self.task_layers.items()
        if self.strategy == 'loop' or count == 1 or in_turn or self._vmap_defeats_autocast(x):
            slices = {n: layer.adapter.lane_slices(layer, tasks) for n, layer in layers}
            lanes = [one_lane({n: p[i] for n, p in slices.items()}) for i in range(count)]
            return out, lanes if in_turn else torch.stack(lanes)
        constants = {n: layer.adapter.lane_constants(layer) for n, layer in layers}
        params = {n: select_tasks(layer.adapter.lane_tensors(layer), tasks) for n, layer in layers}
        mapped = torch.vmap(lane, in_dims=(0, None), randomness='different')
        return out, mapped(params, recorder.memory)

    def _faster_in_turn(self, x: Tensor) -> bool:
        """Are lanes behind attention that only add to the shared stream run one after another?

        On a CPU one lane's tensors are made in the memory of the one before, while those of all
        lanes together are mapped anew each time; products of a formed weight for each lane are
        faster in one batch all the same.
        """
        if x.device.type != 'cpu' or torch.compiler.is_compiling():
            return False
        layers = self.task_layers.values()
        return all(layer.adapter.lane_reads_shared_input for layer in layers)

    @property
    def _starts_behind_attention(self) -> bool:
        """Are all lanes the shared stream up to the layer behind attention?

        Not where they differ before it, or where each draws its own dropout of attention.
        """
        if self.behind is None or not isinstance(self.behind.first, AdapterLayer):
            return False
        if self.strategy == 'loop':  # the plain form
            return False
        before = self.behind.before()
        tasks = any(getattr(m, 'adapter', None) and m.adapter.tasks for m in before)
        return not (tasks or any(m.training and _dropout(m) for m in before))

    @property
    def _lanes_alone(self) -> bool:
        """Can lanes do without the shared pass, and at no cost?

        They must read nothing of it, and what is common to them must be computed once. In training
        dropout would be drawn for each of them.
        """
        reads = any(
            layer.adapter.lane_reads_shared_input or layer.adapter.lane_reads_shared_output
            for layer in self.task_layers.values()
        )
        return self.strategy == 'vmap' and not (reads or self.block.training)

    def _fold(self, x: Tensor, tasks: Sequence[int] | None) -> tuple[Tensor, Tensor]:
        folded = self._folded(tasks)
        stream = _FoldedPass(folded, self._drops)
        with self._streaming(stream), self._marking(stream):
            out = self.run(self.block, x.repeat(1 + len(folded), *[1] * (x.ndim - 1)))
        shared, *lanes = out.chunk(1 + len(folded))
        wanted = folded if tasks is None else tasks
        return shared, torch.stack([lanes[folded.index(task)] for task in wanted])

    @property
    def _drops(self) -> bool:
        """Does dropout of the block itself draw? Where is not known, as attention may do it inside.

        Under vmap what was drawn is batched, which tells.
        """
        return any(module.training and module.p for module in self._dropouts)

    @contextlib.contextmanager
    def _marking(self, stream: Any) -> Iterator[None]:
        """Without vmap: from the first dropped path on, the lanes' inputs are their own."""

        def mark(*_: Any) -> None:
            stream.diverged = True

        others = [m for m in self._others if m.training and m.drop_prob]
        handles = [path.register_forward_hook(mark) for path in others]
        for path in self._paths:
            path.stream = stream
        try:
            yield
        finally:
            for path in self._paths:
                path.stream = None
            for handle in handles:
                handle.remove()

    def _vmap_defeats_autocast(self, x: Tensor) -> bool:
        # vmap turns conv2d into aten.convolution, which CPU autocast does not know: the weight
        # would stay float32 beside a bfloat16 map. (CUDA's autocast knows it.)
        on_cpu = x.device.type == 'cpu' and torch.is_autocast_enabled('cpu')
        return on_cpu and self._convolves

    @contextlib.contextmanager
    def _streaming(self, stream: Any) -> Iterator[None]:
        for layer in self.layers.values():
            layer.stream = stream
        try:
            yield
        finally:
            for layer in self.layers.values():
                layer.stream = None

    def unread_adapters(self) -> list[Adapter]:
        """Adapters whose shared path has no effect when nobody reads the shared stream's output.

        Walking back from the block's end: a layer's shared path matters if its own lanes read it,
        or if the lanes of a later layer read the shared stream.
        """
        unread, needed = [], False
        for layer in reversed(self.task_layers.values()):
            adapter = layer.adapter
            if not needed and not adapter.lane_reads_shared_output:
                unread.append(adapter)
            needed = needed or adapter.lane_reads_shared_input
        return unread


def _arrange(behind: BehindAttention, x: Tensor, memory: dict[str, Remembered], name: str) -> bool:
    """Bring what several lanes start from into the order of ``x`` once, not what each makes.

    ``first``, the layer ``name``, passes row by row, so this is the same. ``False``: it has no
    lanes, or they want something else than rows.
    """
    start = memory[name]
    tensors = all(t is None or isinstance(t, Tensor) for t in start)
    if not (behind.first.adapter.tasks and tensors):
        return False
    made = {t: behind.arrange(x, t) for t in start[1:] if t is not None}
    memory[name] = Remembered(start.output, *(made.get(t) for t in start[1:]))
    return True


def select_tasks(
    tensors: dict[str, Tensor], tasks: Sequence[int] | None
) -> dict[str, Tensor]:  # fmt: skip
    """The rows ``tasks`` of stacked tensors ``(T, ...)``; views where they lie side by side."""
    if tasks is None:
        return tensors
    first, end = tasks[0], tasks[-1] + 1
    rows = slice(first, end) if list(tasks) == list(range(first, end)) else list(tasks)
    return {name: tensor[rows] for name, tensor in tensors.items()}


def _dropout(module: nn.Module) -> float:
    return module.p if isinstance(module, nn.modules.dropout._DropoutNd) else 0


class LaneDropPath(nn.Module):
    """Stochastic depth per sample, free of in-place random numbers (which vmap refuses).

    Args:
        drop_prob: Probability to drop a sample's path in training.
        scale_by_keep: Divide what is kept by the probability to keep it.
    """

    #: the lane that is to be told of a draw; a hook would break the graphs of torch.compile
    stream: Any = None

    def __init__(self, drop_prob: float = 0.0, scale_by_keep: bool = True) -> None:
        super().__init__()
        self.drop_prob = drop_prob
        self.scale_by_keep = scale_by_keep

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.drop_prob == 0:
            return x
        if self.stream is not None:
            self.stream.diverged = True
        keep = 1 - self.drop_prob
        shape = (x.shape[0],) + (1,) * (x.ndim - 1)
        mask = (torch.rand(shape, device=x.device) < keep).to(x.dtype)
        return x * (mask / keep if self.scale_by_keep and keep > 0 else mask)


def replace_drop_path(block: nn.Module) -> None:
    """Swap every DropPath, of timm or of mmcv, for :class:`LaneDropPath` inside ``block``."""
    for module in list(block.modules()):
        for name, child in module.named_children():
            # by name: mmcv is needed for its own networks only
            if type(child).__name__ == 'DropPath' and hasattr(child, 'drop_prob'):
                new = LaneDropPath(child.drop_prob, getattr(child, 'scale_by_keep', True))
                setattr(module, name, new.train(child.training))
