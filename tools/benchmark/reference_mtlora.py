"""MTLoRA on a Swin Transformer the straightforward way: the yardstick of against_reference.py.

Written from the formulas of arXiv 2403.20320 as a fork of a backbone by hand looks: a Python loop
over tasks in the last block's proj and MLP, attention shared, low-rank paths beside the frozen
ones, patch merging and projections one stream after another, heads at full resolution. No block of
timm, no lane, no adapter of mtpeft; losses are mtpeft's, so that both optimise the same. Called as
a script, it prints multiply-adds and parameters.
"""

import argparse
import inspect
import re
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from timm.layers import DropPath, use_fused_attn
from torch import Tensor, nn

from mtpeft.adapters import MTLoRA
from mtpeft.adapters.plugins import plugin_items
from mtpeft.benchmark import multiply_adds
from mtpeft.models.build import build_module
from mtpeft.structures import MultiTaskDataSample
from mtpeft.tasks import TaskSpec, build_tasks
from mtpeft.utils.suggest import hint

ATTENTION = ('timm', 'plain', 'fused')


class MTLoRALinear(nn.Module):
    """``W0 x + b + s B A drop(x)`` of the shared stream, ``W0 x + b + s B_t A_t x_t`` of a task."""

    def __init__(
        self, inputs: int, outputs: int, rank: int, tasks: Sequence[str], task_rank: int,
        scale: float, dropout: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.scale = scale
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(inputs, outputs)
        self.linear.requires_grad_(False)
        self.shared_A = nn.Parameter(_uniform(rank, inputs))
        self.shared_B = nn.Parameter(torch.zeros(outputs, rank))
        self.task_A = nn.ParameterDict(
            {t: nn.Parameter(_uniform(task_rank, inputs)) for t in tasks}
        )
        self.task_B = nn.ParameterDict(
            {t: nn.Parameter(torch.zeros(outputs, task_rank)) for t in tasks}
        )

    def forward(
        self, x: Tensor, x_tasks: Mapping[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        frozen = self.linear(x)
        low_rank = F.linear(F.linear(self.dropout(x), self.shared_A), self.shared_B)
        out = frozen + self.scale * low_rank
        out_tasks = {}
        for task in self.task_A:
            x_t = x if x_tasks is None else x_tasks[task]
            low_rank = F.linear(F.linear(x_t, self.task_A[task]), self.task_B[task])
            out_tasks[task] = frozen + self.scale * low_rank
        return out, out_tasks


class Block(nn.Module):
    """A Swin block on maps ``(B, H, W, C)``; with ``tasks`` a stream for each leaves it too."""

    def __init__(
        self, width: int, heads: int, window: int, size: tuple[int, int], shifted: bool,
        tasks: Sequence[str], rank: int, task_rank: int, scale: float, fused: bool,
        dropout: float, drop_path: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.heads, self.window, self.fused = heads, window, fused
        # no shift where the map fits one window
        self.shift = window // 2 if shifted and max(size) > window else 0
        low_rank = dict(rank=rank, task_rank=task_rank, scale=scale, dropout=dropout)
        self.drop_path = DropPath(drop_path)
        self.norm1 = nn.LayerNorm(width)
        self.qkv = MTLoRALinear(width, 3 * width, tasks=(), **low_rank)
        self.position_table = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.position_table, std=0.02)
        self.proj = MTLoRALinear(width, width, tasks=tasks, **low_rank)
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = MTLoRALinear(width, 4 * width, tasks=tasks, **low_rank)
        self.fc2 = MTLoRALinear(4 * width, width, tasks=tasks, **low_rank)
        self.register_buffer('position_index', _position_index(window), persistent=False)
        mask = _shift_mask(size, window, self.shift) if self.shift else None
        self.register_buffer('mask', mask, persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        size = x.shape[1:3]
        y, y_tasks = self.proj(self._attend(self._to_windows(self.norm1(x))))
        x_tasks = {
            task: x + self.drop_path(self._from_windows(y_t, size)) for task, y_t in y_tasks.items()
        }
        x = x + self.drop_path(self._from_windows(y, size))
        y, y_tasks = self.fc1(
            self.norm2(x), {task: self.norm2(x_t) for task, x_t in x_tasks.items()}
        )
        y, y_tasks = self.fc2(F.gelu(y), {task: F.gelu(y_t) for task, y_t in y_tasks.items()})
        x_tasks = {task: x_t + self.drop_path(y_tasks[task]) for task, x_t in x_tasks.items()}
        return x + self.drop_path(y), x_tasks

    def _to_windows(self, x: Tensor) -> Tensor:
        """``(B, H, W, C)`` to ``(B windows, window^2, C)``."""
        if self.shift:
            x = torch.roll(x, (-self.shift, -self.shift), (1, 2))
        batch, height, width, channels = x.shape
        side = self.window
        x = x.view(batch, height // side, side, width // side, side, channels)
        return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, side * side, channels)

    def _from_windows(self, x: Tensor, size: Sequence[int]) -> Tensor:
        side, channels = self.window, x.shape[-1]
        height, width = size
        x = x.view(-1, height // side, width // side, side, side, channels)
        x = x.permute(0, 1, 3, 2, 4, 5).reshape(-1, height, width, channels)
        return torch.roll(x, (self.shift, self.shift), (1, 2)) if self.shift else x

    def _attend(self, x: Tensor) -> Tensor:
        count, tokens, channels = x.shape
        qkv = self.qkv(x)[0].view(count, tokens, 3, self.heads, channels // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        bias = self.position_table[self.position_index.view(-1)]
        bias = bias.view(tokens, tokens, self.heads).permute(2, 0, 1).contiguous().unsqueeze(0)
        if self.fused:
            x = F.scaled_dot_product_attention(q, k, v, attn_mask=self._masked_bias(bias, count))
        else:
            scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1) + bias
            if self.mask is not None:
                scores = scores.view(-1, len(self.mask), self.heads, tokens, tokens)
                scores = scores + self.mask[None, :, None]
                scores = scores.view(count, self.heads, tokens, tokens)
            x = scores.softmax(-1) @ v
        return x.transpose(1, 2).reshape(count, tokens, channels)

    def _masked_bias(self, bias: Tensor, count: int) -> Tensor:
        if self.mask is None:
            return bias
        return (bias + self.mask[:, None]).repeat(count // len(self.mask), 1, 1, 1)


class PatchMerging(nn.Module):
    """2 x 2 patches to one of twice the width; trained in full."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        x = x.view(batch, height // 2, 2, width // 2, 2, channels)
        return self.reduction(self.norm(x.permute(0, 1, 3, 4, 2, 5).flatten(3)))


class Stage(nn.Module):
    """Blocks, the last with task streams, and the patch merging of every stream."""

    def __init__(
        self, depth: int, width: int, size: tuple[int, int], tasks: Sequence[str], merge: bool,
        drop_paths: Sequence[float], **options,
    ) -> None:  # fmt: skip
        super().__init__()
        self.blocks = nn.ModuleList(
            Block(width, size=size, shifted=i % 2 == 1, tasks=tasks if i == depth - 1 else (),
                  drop_path=drop_paths[i], **options)
            for i in range(depth)
        )  # fmt: skip
        self.merge = PatchMerging(width) if merge else nn.Identity()

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        for block in self.blocks:
            x, x_tasks = block(x)
        x_tasks = {task: self.merge(x_t) for task, x_t in x_tasks.items()}
        # the last stage's shared stream is read by nobody, as in the published design
        return self.merge(x), x_tasks


class Head(nn.Module):
    """Levels at the size of the largest, concatenated, two 1 x 1 convolutions."""

    def __init__(self, widths: Sequence[int], channels: int) -> None:
        super().__init__()
        total = sum(widths)
        self.conv1 = nn.Conv2d(total, 4 * total, 1)
        self.norm = nn.BatchNorm2d(4 * total)
        self.conv2 = nn.Conv2d(4 * total, channels, 1)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        x = torch.cat([_resize(level, levels[0].shape[-2:]) for level in levels], 1)
        return self.conv2(F.relu(self.norm(self.conv1(x)), inplace=True))


class ReferenceMTLoRA(nn.Module):
    """MTLoRA (mode ``matrix``) on a Swin Transformer, with MTLoRA's decoder.

    Trained: low-rank factors, patch embedding, norms, position tables, patch mergings, decoder.

    Args:
        tasks: The tasks, see :func:`mtpeft.tasks.build_tasks`.
        size: (H, W) of the pictures; the masks of shifted windows are made for it.
        width: Width of the first stage.
        depths: Blocks of each stage.
        heads: Attention heads of each stage.
        window: Side of the attention windows.
        rank: Rank of the shared low-rank paths.
        task_rank: Rank of each task's.
        scale: s.
        projections: Widths after the 1 x 1 projections.
        attention: ``'plain'``: a softmax of scores; ``'fused'``:
            ``F.scaled_dot_product_attention``; ``'timm'``: which of both timm's Swin uses.
        dropout: Of the shared low-rank paths' input.
        drop_path: Stochastic depth of the last block; it grows from 0 at the first.

    Raises:
        ValueError: an unknown ``attention``, or maps that windows do not divide.
    """

    def __init__(
        self,
        tasks: TaskSpec,
        size: tuple[int, int] = (448, 448),
        width: int = 96,
        depths: Sequence[int] = (2, 2, 6, 2),
        heads: Sequence[int] = (3, 6, 12, 24),
        window: int = 7,
        rank: int = 64,
        task_rank: int = 4,
        scale: float = 4.0,
        projections: Sequence[int] = (18, 36, 72, 144),
        attention: str = 'timm',
        dropout: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        if attention not in ATTENTION:
            raise ValueError(f"attention='{attention}' is unknown. " + hint(attention, ATTENTION))
        _check_size(size, window, len(depths))
        self.tasks = build_tasks(tasks)
        names = list(self.tasks)
        by_timm = use_fused_attn(experimental=True)
        fused = by_timm if attention == 'timm' else attention == 'fused'
        options = dict(window=window, rank=rank, task_rank=task_rank, scale=scale, fused=fused,
                       dropout=dropout)  # fmt: skip
        paths = torch.linspace(0, drop_path, sum(depths)).split(list(depths))
        self.patch_embed = nn.Conv2d(3, width, 4, stride=4)
        self.patch_norm = nn.LayerNorm(width)
        self.stages, widths = nn.ModuleList(), []
        for i, depth in enumerate(depths):
            map_size = size[0] // 4 // 2**i, size[1] // 4 // 2**i
            merge = i + 1 < len(depths)
            self.stages.append(
                Stage(
                    depth,
                    width * 2**i,
                    map_size,
                    names,
                    merge,
                    paths[i].tolist(),
                    heads=heads[i],
                    **options,
                )  # fmt: skip
            )
            widths.append(width * 2 ** (i + merge))
        self.projections = nn.ModuleDict(
            {
                name: nn.ModuleList(
                    nn.Conv2d(a, b, 1, bias=False) for a, b in zip(widths, projections, strict=True)
                )
                for name in names
            }
        )
        self.heads = nn.ModuleDict(
            {name: Head(projections, task.channels) for name, task in self.tasks.items()}
        )
        self.losses = nn.ModuleDict(
            {name: build_module(task.loss) for name, task in self.tasks.items()}
        )

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Logits ``(B, C, H, W)`` by task, at the input's size."""
        size = x.shape[-2:]
        levels = {name: [] for name in self.tasks}
        x = self.patch_norm(self.patch_embed(x).permute(0, 2, 3, 1))
        for i, stage in enumerate(self.stages):
            x, x_tasks = stage(x)
            for name, x_t in x_tasks.items():
                x_t = x_t.permute(0, 3, 1, 2).contiguous()
                levels[name].append(self.projections[name][i](x_t))
        return {name: _resize(self.heads[name](own).float(), size) for name, own in levels.items()}

    def loss(self, x: Tensor, samples: Sequence[MultiTaskDataSample]) -> dict[str, Tensor]:
        """``loss_<task>``, weighted, of samples that have every label."""
        losses = {}
        for name, logits in self(x).items():
            task = self.tasks[name]
            label = torch.stack([sample.get_gt(name) for sample in samples])
            value = self.losses[name](logits, label, task.valid(label, channel_axis=1))
            losses[f'loss_{name}'] = task.loss_weight * value
        return losses


def from_config(model: Mapping, size: tuple[int, int], attention: str = 'timm') -> ReferenceMTLoRA:
    """The reference of the ``model`` of an MTLoRA config on a Swin."""
    network = model['backbone']['backbone']
    plugins = plugin_items(model['backbone']['plugins']).values()
    lanes = next(plugin['cfg'] for plugin in plugins if plugin.get('lanes') == 'task')
    known = dict(embed_dim='width', depths='depths', num_heads='heads', window_size='window',
                 drop_path_rate='drop_path')  # fmt: skip
    options = {ours: network[theirs] for theirs, ours in known.items() if theirs in network}
    options |= {key: lanes[key] for key in ('rank', 'task_rank', 'scale') if key in lanes}
    default = inspect.signature(MTLoRA).parameters['dropout'].default
    options['dropout'] = lanes.get('dropout', default)
    options['projections'] = model['necks'][0]['out_channels']
    return ReferenceMTLoRA(model['tasks'], size, attention=attention, **options)


_RULES = (
    (r'^patch_embed\.', 'patch_embed.proj.'),
    (r'^patch_norm\.', 'patch_embed.norm.'),
    (r'^stages\.(\d+)\.merge\.', lambda m: f'layers.{int(m[1]) + 1}.downsample.'),
    (r'^stages\.', 'layers.'),
    (r'\.position_table$', '.attn.relative_position_bias_table'),
    (r'(blocks\.\d+)\.(qkv|proj)\.', r'\1.attn.\2.'),
    (r'\.(fc1|fc2)\.', r'.mlp.\1.'),
    (r'\.linear\.', '.'),
    (r'\.shared_([AB])$', r'.adapter.\1'),
    (r'\.task_([AB])\.', r'.adapter.task_\1.'),
)


def model_key(key: str) -> str:
    """The key that a ``MultiTaskModel`` has for a key of the reference's state dict.

    Example:
        >>> model_key('stages.0.blocks.1.fc1.task_A.sal')
        'backbone.network.layers.0.blocks.1.mlp.fc1.adapter.task_A.sal'
    """
    if key.startswith('projections.'):
        return 'necks.0.proj.' + key.removeprefix('projections.')
    if key.startswith('heads.'):
        return f'decoder.{key}'
    for pattern, replacement in _RULES:
        key = re.sub(pattern, replacement, key)
    return f'backbone.network.{key}'


def _uniform(rank: int, inputs: int) -> Tensor:
    return torch.empty(rank, inputs).uniform_(-(inputs**-0.5), inputs**-0.5)


def _resize(x: Tensor, size: Sequence[int]) -> Tensor:
    if x.shape[-2:] == size:
        return x
    return F.interpolate(x, size=tuple(size), mode='bilinear', align_corners=False)


def _check_size(size: tuple[int, int], window: int, stages: int) -> None:
    unit = 4 * 2 ** (stages - 1) * window
    if any(side % unit for side in size):
        raise ValueError(
            f'The reference does not pad windows: expected sides divisible by {unit} '
            f'(stride {4 * 2 ** (stages - 1)}, windows of {window}), got {tuple(size)}.'
        )


def _position_index(window: int) -> Tensor:
    """Row of the position table for each pair of a window's places, ``(window^2, window^2)``."""
    places = torch.cartesian_prod(torch.arange(window), torch.arange(window))
    offset = places[:, None] - places[None] + window - 1
    return offset[..., 0] * (2 * window - 1) + offset[..., 1]


def _shift_mask(size: tuple[int, int], window: int, shift: int) -> Tensor:
    """-100 between places of a shifted window that are no neighbours, ``(windows, N, N)``."""
    rows, columns = (
        (torch.arange(side) >= side - window).long() + (torch.arange(side) >= side - shift).long()
        for side in size
    )
    region = rows[:, None] * 3 + columns[None]
    region = region.view(size[0] // window, window, size[1] // window, window)
    region = region.transpose(1, 2).reshape(-1, window * window)
    return torch.where(region[:, None] == region[:, :, None], 0.0, -100.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('size', type=int, nargs='?', default=448, help='side of the picture')
    size = parser.parse_args().size
    model = ReferenceMTLoRA(['semseg', 'human_parts', 'sal', 'normals'], (size, size)).eval()
    with torch.no_grad():
        count = multiply_adds(lambda: model(torch.zeros(1, 3, size, size)))
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    print(f'{size} x {size}: {count / 1e9:.2f} G multiply-adds, {trained:,} trained parameters')


if __name__ == '__main__':
    main()
