"""All parts of one run, in their order."""

from mtpeft.report import adapters, pictures, sections
from mtpeft.report.html import Html, join, tag
from mtpeft.report.pictures import Shown
from mtpeft.report.run_files import RunFiles


def run_parts(
    run: RunFiles, shown: Shown | None = None, draw_input: bool = True
) -> dict[str, Html]:
    """Parts of the report by their titles; those that a run has nothing for are left out.

    Args:
        run: The run.
        shown: The pictures to draw, ``None``: the model is not run.
        draw_input: May photographs be in the report?
    """
    tasks = sections.tasks_of(run)
    baselines = sections.baselines_of(run, tasks)
    if shown is None:
        drawn = {'Pictures': pictures.without_model(run, draw_input)}
    else:
        drawn = {'Pictures': pictures.pictures(shown), 'Worst pictures': pictures.worst(shown)}
    parts = {
        'Results': join(tiles(run), sections.results(run, tasks, baselines)),
        'Curves': sections.curves(run, tasks), **drawn,
        'Ranks': adapters.ranks(run), 'Frequencies': adapters.frequencies(run),
        'Parameters': sections.parameters(run), 'Config': sections.config(run),
        'How it was made': sections.provenance(run),
    }  # fmt: skip
    return {title: part for title, part in parts.items() if part is not None}


def sections_of(parts: dict[str, Html], prefix: str = '', level: int = 2) -> Html:
    """The parts below their titles."""
    return join([
        tag('section', tag(f'h{level}', title), part, id=anchor(title, prefix))
        for title, part in parts.items()
    ])  # fmt: skip


def anchor(title: str, prefix: str = '') -> str:
    """The name of a part in addresses.

    Example:
        >>> anchor('How it was made', 'lora-')
        'lora-how-it-was-made'
    """
    return prefix + ''.join(c if c.isalnum() else '-' for c in title.lower())


def tiles(run: RunFiles) -> Html:
    """The few numbers that are read first."""
    found = []
    delta = run.metrics.get('mtl/delta_m')
    if delta is not None:
        found.append(('Δm over single-task networks', f'{delta:+.2f} %'))
    counts, total = sections.components(run)
    if counts:
        trainable = sum(counts.values())
        share = f', {trainable / total:.1%} of all' if total else ''
        found.append((f'trainable parameters{share}', _short(trainable)))
    left = (run.result.get('parameters') or {}).get('effective')
    if left and counts and left != sum(counts.values()):
        found.append(('left without pruned components', _short(left)))
    meta = run.checkpoint.get('meta') or {}
    done = run.train[-1] if run.train else {}
    steps = run.result.get('iterations') or meta.get('iter') or done.get('iter')
    if steps:
        epochs = run.result.get('epochs') or meta.get('epoch')
        words = f'iterations, {epochs} epochs' if epochs and run.by_epoch else 'iterations'
        found.append((words, f'{steps:,}'))
    return tag('div', [tag('div', tag('b', value), tag('span', name)) for name, value in found],
               class_='tiles')  # fmt: skip


def _short(number: int) -> str:
    return f'{number / 1e6:.2f} M' if number >= 1e6 else f'{number / 1e3:,.0f} k'
