"""Draw docs/images/lanes.png: one stage of a backbone with task lanes.

python docs/draw_lanes.py
"""

from pathlib import Path

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

TASKS = {'semseg': '#0072b2', 'normals': '#d55e00', 'depth': '#009e73'}
GREY, LIGHT = '#555555', '#eeeeee'
LAYERS = {'qkv': 6.0, 'attention': 7.65, 'proj': 9.3, 'fc1': 10.95, 'fc2': 12.6}
SHARED_Y = 4.0
HALF, HIGH = 0.6, 0.34


def box(ax, x, y, text, color, fill='white', half=HALF, high=HIGH, size=9):
    """A rounded box around (x, y)."""
    patch = FancyBboxPatch(
        (x - half, y - high), 2 * half, 2 * high, boxstyle='round,pad=0.02,rounding_size=0.1',
        linewidth=1.4, edgecolor=color, facecolor=fill, zorder=3,
    )  # fmt: skip
    ax.add_patch(patch)
    ax.text(x, y, text, ha='center', va='center', fontsize=size, zorder=4)


def arrow(ax, start, end, color, style='-'):
    """An arrow; down and then right where it changes height."""
    bend = 'arc3,rad=0' if start[1] == end[1] else 'angle,angleA=-90,angleB=180,rad=8'
    ax.add_patch(
        FancyArrowPatch(
            start,
            end,
            arrowstyle='-|>',
            mutation_scale=11,
            color=color,
            linewidth=1.5,
            linestyle=style,
            shrinkA=0,
            shrinkB=0,
            connectionstyle=bend,
            zorder=2,
        )  # fmt: skip
    )


def stream(ax, y, xs, color, end):
    """Arrows from box to box along one stream."""
    for left, right in zip(xs, xs[1:], strict=False):
        arrow(ax, (left + HALF, y), (right - HALF, y), color)
    arrow(ax, (xs[-1] + HALF, y), (end, y), color)


def main() -> None:
    fig, ax = plt.subplots(figsize=(11.8, 4.7), dpi=130)
    ax.set_xlim(0, 18.2)
    ax.set_ylim(-0.35, 6.15)
    ax.axis('off')

    frame = FancyBboxPatch(
        (5.05, -0.1), 8.5, 5.0, boxstyle='round,pad=0.05', linewidth=1, edgecolor=GREY,
        facecolor='#fafafa', linestyle='--', zorder=0,
    )  # fmt: skip
    ax.add_patch(frame)
    title = dict(ha='center', va='bottom', fontsize=9.5)
    lane_block = 'last block of the stage, run once for the shared stream\n'
    ax.text(9.3, 5.15, lane_block + 'and once, under torch.vmap, for all tasks', **title)
    ax.text(2.75, 5.15, 'blocks 1 to N-1', **title)

    ax.text(0.1, SHARED_Y, 'x', fontsize=12, va='center', style='italic')
    arrow(ax, (0.4, SHARED_Y), (0.95, SHARED_Y), GREY)
    box(ax, 1.75, SHARED_Y, 'block\n+ adapters', GREY, LIGHT, half=0.8, high=0.48)
    arrow(ax, (2.55, SHARED_Y), (2.95, SHARED_Y), GREY)
    box(ax, 3.75, SHARED_Y, 'block\n+ adapters', GREY, LIGHT, half=0.8, high=0.48)
    arrow(ax, (4.55, SHARED_Y), (LAYERS['qkv'] - HALF, SHARED_Y), GREY)
    for name, x in LAYERS.items():
        box(ax, x, SHARED_Y, name if name == 'attention' else f'{name}\n+ A, B', GREY, LIGHT,
            high=0.42, size=8.5)  # fmt: skip
    stream(ax, SHARED_Y, list(LAYERS.values()), GREY, 14.25)

    lanes = [LAYERS[name] for name in ('proj', 'fc1', 'fc2')]
    for row, (task, color) in enumerate(TASKS.items()):
        y = 2.55 - 1.05 * row
        start = (LAYERS['attention'] + 0.28 - 0.28 * row, SHARED_Y - 0.42)
        arrow(ax, start, (lanes[0] - HALF, y), color)
        for name, x in zip(('proj', 'fc1', 'fc2'), lanes, strict=True):
            box(ax, x, y, f'{name}\n+ A$_t$, B$_t$', color, size=8.5)
        stream(ax, y, lanes, color, 14.25)
        box(ax, 14.95, y, 'merge', color, half=0.68)
        arrow(ax, (15.65, y), (16.2, y), color)
        ax.text(16.3, y, f'level of {task}\n(to the decoder)', va='center', fontsize=9, color=color)
    box(ax, 14.95, SHARED_Y, 'merge', GREY, LIGHT, half=0.68)
    arrow(ax, (15.65, SHARED_Y), (16.2, SHARED_Y), GREY)
    ax.text(16.3, SHARED_Y, 'next stage', va='center', fontsize=9.5)
    ax.text(5.3, 1.5, 'qkv and\nattention do\nnot depend on\nthe task:\ncomputed once',
            fontsize=8.5, va='center', color=GREY)  # fmt: skip

    target = Path(__file__).parent / 'images' / 'lanes.png'
    target.parent.mkdir(exist_ok=True)
    fig.savefig(target, bbox_inches='tight', metadata={'Software': None})
    print(target)


if __name__ == '__main__':
    main()
