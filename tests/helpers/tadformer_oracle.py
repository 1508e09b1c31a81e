"""TADFormer's last block of a stage, written out window by window and task by task."""

import torch
import torch.nn.functional as F


def kernels(filter, z):
    """The 3 x 3 kernels ``(r, 3, 3)`` that one sample ``(r, h, w)`` makes."""
    rank = len(z)
    pooled = torch.stack([channel.mean() for channel in z])
    c = filter.weight @ pooled + filter.bias
    out = []
    for i in range(rank):
        own = slice(9 * i, 9 * i + 9)
        deviation = ((c[own] - c[own].mean()).square().sum() / 8).sqrt()
        normal = (c[own] - c[own].mean()) / (deviation + 1e-10)
        out.append((normal * filter.std[own] + filter.mean[own]).view(3, 3))
    return torch.stack(out)


def filtered(adapter, z, task):
    """DTF, or what takes its place, of one sample ``(r, h, w)``."""
    if adapter.kind == 'none':
        return z
    if adapter.kind == 'dynamic':
        kernel, bias = kernels(adapter.filter, z), None
    else:
        kernel, bias = adapter.task_kernel[task], adapter.task_bias[task]
    return F.conv2d(z[None], kernel[:, None], bias, padding=1, groups=len(z))[0]


def shared(layer, x):
    """W x + b + s B A x."""
    a, b = layer.adapter.A, layer.adapter.B
    return x @ layer.weight.T + layer.bias + 4 * x @ a.T @ b.T


def lane(layer, frozen, x, task):
    """W f + b + s B DTF(A x) of one sample's map ``(h, w, in)``, f what passes the frozen layer."""
    a, b = layer.adapter.A, layer.adapter.B
    z = filtered(layer.adapter, (x @ a.T).permute(2, 0, 1), task).permute(1, 2, 0)
    return frozen @ layer.weight.T + layer.bias + 4 * z @ b.T


def sides(size, window, shift):
    """Which side of the picture a patch of the shifted map ``(H, W)`` comes from."""
    ids = torch.zeros(size)
    if shift:
        bounds = [[(0, n - window), (n - window, n - shift), (n - shift, n)] for n in size]
        for i, (a, b) in enumerate(bounds[0]):
            for j, (c, d) in enumerate(bounds[1]):
                ids[a:b, c:d] = 3 * i + j
    return ids


def block(block, norm, gate, x, prompts, tasks, shift, prompt_gate=True):
    """A timm block on ``(B, H, W, C)`` with prompts ``(B, T L, C)``; sides are multiples of 7.

    Returns:
        The shared stream's output, F ``(T, B, H, W, C)`` and what prompts become.
    """
    attention, mlp = block.attn, block.mlp
    number, heads = prompts.shape[1], attention.num_heads
    each = number // tasks
    batch, height, width, channels = x.shape
    size = channels // heads
    moved = torch.roll(block.norm1(x), (-shift, -shift), (1, 2))
    tokens = block.norm1(prompts)
    ids = sides((height, width), 7, shift)
    table = attention.relative_position_bias_table
    bias = table[attention.relative_position_index.view(-1)].view(49, 49, heads)
    attended = torch.zeros_like(x)
    skip, lanes = (torch.zeros(tasks, *x.shape, dtype=x.dtype) for _ in range(2))
    rows, count = torch.zeros_like(prompts), (height // 7) * (width // 7)
    for b in range(batch):
        for i in range(0, height, 7):
            for j in range(0, width, 7):
                place = slice(i, i + 7), slice(j, j + 7)
                z = torch.cat([tokens[b], moved[b][place].reshape(49, channels)])
                q, k, v = shared(attention.qkv, z).view(-1, 3, heads, size).unbind(1)
                own = ids[place].reshape(49)
                o, scores = torch.zeros(len(z), heads, size, dtype=x.dtype), []
                for h in range(heads):
                    scores.append(q[:, h] @ k[:, h].T)
                    logits = scores[h] / size**0.5
                    logits[number:, number:] += bias[:, :, h] - 100.0 * (own[:, None] != own)
                    o[:, h] = logits.softmax(-1) @ v[:, h]
                out = shared(attention.proj, o.flatten(1))
                attended[b][place] = out[number:].view(7, 7, channels)
                rows[b] += out[:number] / count
                patches = o[number:]
                for t in range(tasks):
                    gated = patches.clone()
                    for h in range(heads if prompt_gate else 0):
                        own_rows = scores[h][t * each : (t + 1) * each, number:]
                        gated[:, h] *= F.gelu(own_rows).mean(0)[:, None]
                    given = gated.flatten(1)
                    if prompt_gate:
                        given = norm(given + patches.flatten(1))
                    skip[t, b][place] = gated.reshape(7, 7, channels)
                    maps = [m.reshape(7, 7, channels) for m in (patches.flatten(1), given)]
                    lanes[t, b][place] = lane(attention.proj, *maps, t)
    attended, skip, lanes = (
        torch.roll(m, (shift, shift), (-3, -2)) for m in (attended, skip, lanes)
    )
    x1 = x + attended
    h = block.norm2(x1)
    m = F.gelu(shared(mlp.fc1, h))
    x2 = x1 + shared(mlp.fc2, m)
    share = 1 / (1 + torch.exp(-gate))
    mixed = torch.zeros_like(lanes)
    for t in range(tasks):
        for b in range(batch):
            own = x[b] + lanes[t, b]
            u = F.gelu(lane(mlp.fc1, h[b], block.norm2(own), t))
            own = own + lane(mlp.fc2, m[b], u, t)
            mixed[t, b] = share * skip[t, b] + (1 - share) * own
    after = prompts + shared(mlp.fc2, F.gelu(shared(mlp.fc1, block.norm2(rows))))
    return x2, mixed, after
