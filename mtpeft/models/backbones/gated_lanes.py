"""The last block of a stage in TADFormer: the shared stream, and one gated stream a task."""

from collections.abc import Container, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtpeft.adapters import Adapter, AdapterLayer
from mtpeft.adapters.lanes.current import now, within
from mtpeft.models.backbones.families import Family


class _Recorder:
    """Stream of the shared pass: keeps each layer's output, and what it leaves for the lanes."""

    diverged = False

    def __init__(self, layers: Container[AdapterLayer]) -> None:
        self.carries = layers
        self.outputs: dict[nn.Module, Tensor] = {}
        self.memory: dict[nn.Module, Any] = {}

    def __call__(self, layer: AdapterLayer, x: Tensor) -> Tensor:
        self.outputs[layer], self.memory[layer] = layer.adapter.shared_and_memory(layer, x)
        return self.outputs[layer]


class GatedLanes:
    r"""A block whose lanes start from attention gated by the tasks' prompts (arXiv 2501.04293).

    The shared stream passes the block in sight of the prompts. With O the heads' output at the
    patches of a window, and q and k of its attention, a task's lane is

    .. math::
        a_t = \mathrm{GELU}(q_{\mathrm{prompt}\,t}\, k_{\mathrm{patches}}^T), \quad
        G_t = a_t \odot O, \quad X_t = \mathrm{LN}_p(G_t + O)

        x^1_t = x + \mathrm{DP}(\mathrm{proj}_t(X_t)), \quad
        x^2_t = x^1_t + \mathrm{DP}(\mathrm{fc2}_t(\mathrm{GELU}(
                \mathrm{fc1}_t(\mathrm{LN}_2(x^1_t)))))

        F_t = \sigma(g)\, G_t + (1 - \sigma(g))\, x^2_t

    where each layer adds B DTF(A .) to the frozen output of the shared stream
    (:class:`~mtpeft.adapters.TADFormer`). Scores have no scale, bias, mask or softmax; those of a
    task's L prompts are averaged behind GELU. All tasks lie on a leading axis of one pass: they
    share every parameter but the prompts.

    Args:
        block: A block of a Swin whose attention takes prompts.
        tasks: Names of the tasks.
        family: The network's table.
        norm: LN_p.
        gates: g ``(1,)`` of each stage.
        stage: Which of them is this block's.
        prompt_gate: ``False``: X_t = G_t = O.

    Raises:
        ValueError: a layer of the block is not adapted as it has to be.
    """

    def __init__(
        self,
        block: nn.Module,
        tasks: Sequence[str],
        family: Family,
        norm: nn.Module,
        gates: nn.ParameterList,
        stage: int,
        prompt_gate: bool = True,
    ) -> None:
        self.block = block
        self.tasks = tuple(tasks)
        self.family = family
        self.parts = family.parts(block)
        self.norm = norm
        # looked up in each pass, since a move to another device may replace parameters
        self.gates, self.stage = gates, stage
        self.prompt_gate = prompt_gate
        self.find_layers()
        for role, layer in self.layers.items():
            _check(role, layer)

    def find_layers(self) -> None:
        """Look up the block's layers, again where some were replaced."""
        self.layers = self.parts.layers

    def copies(self, tasks: Sequence[int] | None = None) -> int:
        """The shared stream alone passes the attention."""
        return 1

    def __call__(self, x: Tensor, tasks: Sequence[int] | None = None) -> tuple[Tensor, Tensor]:
        """Run the block; its attention has to see the prompts of all tasks.

        Args:
            x: The block's input ``(B, H, W, C)``.
            tasks: Positions of the tasks whose lanes are wanted; all by default.

        Returns:
            The shared stream's output ``(B, H, W, C)`` and the lanes' F ``(T, B, H, W, C)``.
        """
        recorder = _Recorder(set(self.layers.values()))
        with within(stream=recorder):
            shared = self.family.run_block(self.block, x)
        return shared, self._lanes(x, recorder, tasks)

    def _lanes(self, x: Tensor, recorder: _Recorder, tasks: Sequence[int] | None) -> Tensor:
        parts, size = self.parts, x.shape[1:3]
        proj, fc1, fc2 = (self.layers[role] for role in ('proj', 'fc1', 'fc2'))
        number = now.attended.prompts.shape[1]
        frozen, attended = (rows[:, number:] for rows in recorder.memory[proj])
        count = len(self.tasks) if tasks is None else len(tasks)
        gated = given = attended.expand(count, *attended.shape)
        if self.prompt_gate:
            gated = attended * self._weights(recorder.outputs[self.layers['qkv']], number, tasks)
            given = self.norm(gated + attended)
        given, frozen = (rows.unflatten(-2, parts.window) for rows in (given, frozen))
        y = proj.adapter.all_lanes(proj, given, frozen, tasks)
        x = x + self._each(lambda y: parts.attention_end(parts.rejoin(y, size)), y.flatten(-3, -2))
        frozen1, frozen2 = (
            recorder.memory[layer].frozen.reshape(*x.shape[1:4], -1) for layer in (fc1, fc2)
        )
        u = parts.hidden(fc1.adapter.all_lanes(fc1, parts.norm2(x), frozen1, tasks))
        x = x + self._each(parts.mlp_end, fc2.adapter.all_lanes(fc2, u, frozen2, tasks))
        skip = self._each(lambda windows: parts.rejoin(windows, size), gated)
        gate = self.gates[self.stage].sigmoid()
        return gate * skip + (1 - gate) * x

    def _weights(self, qkv: Tensor, number: int, tasks: Sequence[int] | None) -> Tensor:
        """a_t of each head, repeated over its channels, ``(T, B nW, area, C)``."""
        q, k, _ = qkv.unflatten(-1, (3, self.parts.heads, -1)).unbind(2)
        prompts = q[:, :number].unflatten(1, (len(self.tasks), -1))
        if tasks is not None:
            prompts = prompts[:, list(tasks)]
        scores = torch.einsum('wtphd,wnhd->tpwnh', prompts, k[:, number:])
        weights = F.gelu(scores).mean(1)
        return weights.repeat_interleave(q.shape[-1], -1)

    @staticmethod
    def _each(function, x: Tensor) -> Tensor:
        """``function`` of ``(T, B, ...)`` with every task's samples on the batch axis."""
        return function(x.flatten(0, 1)).unflatten(0, (len(x), -1))

    def unread_adapters(self) -> list[Adapter]:
        """None: lanes pass A and B of the shared stream, up to the last layer."""
        return []


def _check(role: str, layer: nn.Module) -> None:
    adapter = getattr(layer, 'adapter', None)
    if role == 'qkv':
        if adapter is None or adapter.tasks:
            raise ValueError(
                "TADFormer's attention is the shared stream's: expected an adapter without lanes "
                f"on qkv of every stage's last block, got {_name(adapter)}. Add a plugin "
                "dict(cfg=dict(type='TADFormer', rank=...), targets=['qkv'])."
            )
    elif not (hasattr(adapter, 'all_lanes') and adapter.tasks):
        raise ValueError(
            "expected TADFormer with lanes on proj, fc1 and fc2 of every stage's last block, got "
            f"{_name(adapter)} on {role}. Add a plugin dict(cfg=dict(type='TADFormer', "
            "rank=...), targets=['proj', 'fc1', 'fc2'], lanes='task')."
        )


def _name(adapter: nn.Module | None) -> str:
    if adapter is None:
        return 'no adapter'
    return f'{type(adapter).__name__} {"with" if adapter.tasks else "without"} lanes'
