"""Run one block for the shared stream and, at once, for every task.

The block is not rewritten. Three strategies lead through it:

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

from mtpeft.adapters.base import Adapter
from mtpeft.adapters.lanes.current import now, within
from mtpeft.adapters.lanes.drop_path import LaneDropPath, replace_drop_path
from mtpeft.adapters.lanes.passes import FoldedPass, Remembered, SharedPass
from mtpeft.adapters.lanes.ways import Lanes, way_of
from mtpeft.adapters.layers import AdapterLayer, AdapterModule
from mtpeft.structures.levels import apart

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
        self.reads_lanes = any(m.adapter.coupling.read_by_shared for m in self.layers.values())
        self.strategy = 'fold' if self.reads_lanes else strategy

    def find_layers(self) -> None:
        """Look up the block's adapted layers, again where some were replaced."""
        named = dict(self.block.named_modules())
        self.layers = {n: m for n, m in named.items() if isinstance(m, AdapterLayer)}
        self.names = {layer: name for name, layer in self.layers.items()}
        own = [m for n, m in named.items() if '.adapter.' not in f'.{n}.']
        self._dropouts = [m for m in own if isinstance(m, nn.modules.dropout._DropoutNd)]
        paths = [m for m in own if isinstance(m, LaneDropPath)]
        self._others = [m for m in own if hasattr(m, 'drop_prob') and m not in paths]
        self._convolves = any(isinstance(m, nn.Conv2d) for m in named.values())

    @property
    def task_layers(self) -> dict[str, AdapterLayer]:
        """The layers with task parameters, in the order of the block's modules."""
        return {name: layer for name, layer in self.layers.items() if layer.adapter.tasks}

    def copies(self, tasks: Sequence[int] | None = None) -> int:
        """How often the block sees each picture on its batch axis, for some tasks or for all."""
        return 1 + len(self._folded(tasks)) if self.strategy == 'fold' else 1

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
        passes_shared = shared or not self._lanes_alone
        behind = self.behind if passes_shared and self._starts_behind_attention else None
        recorder = SharedPass(self.names, self.copied, behind and behind.first)
        out = None
        if passes_shared:
            with within(stream=recorder):
                out = self.run(self.block, x)
        lanes = self._lanes(x, tasks, recorder.memory, behind)
        adds = behind is not None and self._only_add(x)
        way = way_of(self.strategy, lanes.count, adds, self._vmap_defeats_autocast(x))
        return out, way(lanes)

    def _lanes(
        self,
        x: Tensor,
        tasks: Sequence[int] | None,
        memory: dict[str, Remembered],
        behind: BehindAttention | None,
    ) -> Lanes:
        count = len(self.tasks) if tasks is None else len(tasks)
        first = None if behind is None else self.names[behind.first]
        arranged = behind is not None and count > 1 and _arrange(behind, x, memory, first)

        def passed(memory: dict[str, Remembered]) -> Tensor:
            if behind is None:
                return self.run(self.block, x)
            return behind(x, memory[first].input, arranged)

        return Lanes(
            layers=self.task_layers,
            names=self.names,
            tasks=tasks,
            count=count,
            memory=memory,
            passed=passed,
            copied=self.copied,
            drops=self._drops,
            marking=self._marking,
        )

    # -- all streams on the batch axis -----------------------------------------------------------

    def _folded(self, tasks: Sequence[int] | None) -> Sequence[int]:
        """The lanes of a folded pass: all where the shared stream is made of them."""
        every = range(len(self.tasks))
        return every if tasks is None or self.reads_lanes else tasks

    def _fold(self, x: Tensor, tasks: Sequence[int] | None) -> tuple[Tensor, Tensor]:
        folded = self._folded(tasks)
        stream = FoldedPass(self.names, folded, self._drops)
        with within(stream=stream), self._marking(stream):
            out = self.run(self.block, x.repeat(1 + len(folded), *[1] * (x.ndim - 1)))
        shared, *lanes = apart(out, 1 + len(folded))
        wanted = folded if tasks is None else tasks
        return shared, torch.stack([lanes[folded.index(task)] for task in wanted])

    # -- what decides ----------------------------------------------------------------------------

    def _only_add(self, x: Tensor) -> bool:
        """Do all lanes only add to the shared stream, on a CPU?

        Products of a formed weight for each lane are faster in one batch all the same.
        """
        if x.device.type != 'cpu' or torch.compiler.is_compiling():
            return False
        return all(layer.adapter.coupling.reads for layer in self.task_layers.values())

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
        layers = self.task_layers.values()
        reads = any(layer.adapter.coupling.reads for layer in layers)
        # what stands beside a module would run it again
        reads = reads or any(isinstance(layer, AdapterModule) for layer in layers)
        return self.strategy == 'vmap' and not (reads or self.block.training)

    def _vmap_defeats_autocast(self, x: Tensor) -> bool:
        # vmap turns conv2d into aten.convolution, which CPU autocast does not know: the weight
        # would stay float32 beside a bfloat16 map. (CUDA's autocast knows it.)
        on_cpu = x.device.type == 'cpu' and torch.is_autocast_enabled('cpu')
        return on_cpu and self._convolves

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
            if now.stream is stream:
                stream.diverged = True

        others = [m for m in self._others if m.training and m.drop_prob]
        handles = [path.register_forward_hook(mark) for path in others]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def unread_adapters(self) -> list[Adapter]:
        """Adapters whose shared path has no effect when nobody reads the shared stream's output.

        Walking back from the block's end: a layer's shared path matters if its own lanes read it,
        or if the lanes of a later layer read the shared stream.
        """
        unread, needed = [], False
        for layer in reversed(self.task_layers.values()):
            reads = layer.adapter.coupling.reads
            if not needed and reads != 'output':
                unread.append(layer.adapter)
            needed = needed or reads is not None
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


def _dropout(module: nn.Module) -> float:
    return module.p if isinstance(module, nn.modules.dropout._DropoutNd) else 0
