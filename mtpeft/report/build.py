"""The report of a work dir or of a suite, written as one file."""

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from mtpeft.apis.pretrained import from_pretrained
from mtpeft.registry import DATASETS
from mtpeft.report.html import Html, join, tag
from mtpeft.report.pictures import Shown
from mtpeft.report.run_files import ReportError, RunFiles, is_run, read_run, runs_of_suite
from mtpeft.report.run_page import anchor, run_parts, sections_of
from mtpeft.report.sections import tasks_of
from mtpeft.report.suite_page import overview, run_anchor
from mtpeft.utils.atomic import write_atomically
from mtpeft.version import __version__


def write_report(
    folder: str | Path,
    out: str | Path | None = None,
    pictures: int = 0,
    checkpoint: str | Path | None = None,
    draw_input: bool = True,
    device: str = 'cpu',
    among: int = 400,
    say: Callable[[str], None] = lambda text: None,
) -> Path:
    """Write one HTML file with what the files of a run, or of a suite's runs, say.

    The file holds all that it shows and opens from the disk; nothing is fetched from the net.

    Args:
        folder: A work dir, or the folder of a suite (``<label>/seed<k>`` in it).
        out: The file. ``None``: ``report.html`` in ``folder``.
        pictures: So many validation pictures are predicted and shown with sliders, and the worst
            ones of each task. 0: the model is not run.
        checkpoint: The weights to predict with. ``None``: the best of the run, or else its last.
        draw_input: Put photographs into the file; ``False`` for data that must not be passed on.
        device: Where the model runs.
        among: How many validation pictures are judged at most to find the worst.
        say: Called with a line on what is done.

    Returns:
        The path of the file.

    Raises:
        ReportError: the folder is neither a work dir nor a suite, a file in it is damaged, or the
            model cannot be run.

    Example:
        >>> write_report('no/such/folder')
        Traceback (most recent call last):
        mtpeft.report.run_files.ReportError: no/such/folder: there is no such folder. ...
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ReportError(
            f'{folder}: there is no such folder. Expected the work dir of a run (work_dirs/NAME), '
            'or the folder of a suite (work_dirs/suites/NAME).'
        )
    options = dict(number=pictures, draw_input=draw_input, device=device, among=among, say=say)
    if is_run(folder):
        run = read_run(folder)
        page = _run_page(run, run_parts(run, _shown(run, checkpoint, **options), draw_input))
    else:
        runs = [read_run(path) for path in runs_of_suite(folder)]
        if not runs:
            raise ReportError(_nothing_in(folder))
        if checkpoint is not None:
            raise ReportError('--checkpoint is for one run; a suite shows the best of each run.')
        page = _suite_page(folder, runs, options)
    path = Path(out) if out else folder / 'report.html'
    write_atomically(page.encode(), path)
    return path


def _shown(
    run: RunFiles, checkpoint: str | Path | None, number: int, draw_input: bool, device: str,
    among: int, say: Callable[[str], None],
) -> Shown | None:  # fmt: skip
    """The model and its validation pictures, ``None`` where none are wanted."""
    if not number:
        return None
    say(f'predicting with {run.path}')
    try:
        model = from_pretrained(run.path, checkpoint, device)
        if not hasattr(model, 'tasks'):
            raise ValueError('only models with tasks of mtpeft are drawn')
        dataset = DATASETS.build(run.config.val_dataloader.dataset)
    # a config is code, data may be elsewhere: anything can happen
    except Exception as error:
        words = error.args[0] if isinstance(error, KeyError) and error.args else error
        raise ReportError(
            f'{run.path}: its model cannot be run here ({words}). Without --pictures the report '
            'is made of the files alone.'
        ) from error
    order = {name: model.tasks[name] for name in tasks_of(run) if name in model.tasks}
    return Shown(model, dataset, number, order, among, draw_input)


def _run_page(run: RunFiles, parts: dict[str, Html]) -> str:
    links = [(title, f'#{anchor(title)}') for title in parts]
    return _page(run.name, _subtitle(run), links, sections_of(parts))


def _suite_page(folder: Path, runs: list[RunFiles], options: dict) -> str:
    name = folder.resolve().name
    links = [('Overview', '#overview'), ('Runs', '#runs')]
    cards = []
    for run in runs:
        parts = run_parts(run, _shown(run, None, **options), options['draw_input'])
        prefix = f'{run_anchor(run)}-'
        cards.append(
            tag('details', tag('summary', run.name), sections_of(parts, prefix, level=3),
                id=run_anchor(run), class_='run')
        )  # fmt: skip
    body = join(
        tag('section', tag('h2', 'Overview'), overview(runs), id='overview'),
        tag('section', tag('h2', 'Runs'), cards, id='runs'),
    )
    finished = sum(bool(run.result) for run in runs)
    return _page(f'Suite {name}', f'{finished} of {len(runs)} runs are finished.', links, body)


def _subtitle(run: RunFiles) -> str:
    config = run.recipe.get('config') or run.result.get('config')
    config = config or run.config_name
    date = run.result.get('date') or (run.checkpoint.get('meta') or {}).get('time') or ''
    return ', '.join(word for word in (str(config), str(date)) if word)


def _page(title: str, subtitle: str, links: list[tuple[str, str]], body: Html) -> str:
    here = files('mtpeft.report')
    style = Html(here.joinpath('page.css').read_text(encoding='utf-8'))
    script = Html(here.joinpath('page.js').read_text(encoding='utf-8'))
    head = tag(
        'head', tag('meta', charset='utf-8'),
        tag('meta', name='viewport', content='width=device-width, initial-scale=1'),
        tag('meta', name='color-scheme', content='light dark'),
        tag('title', f'{title} - mtpeft'), tag('style', style),
    )  # fmt: skip
    bar = tag('nav', [tag('a', text, href=address) for text, address in links])
    top = tag('header', tag('h1', title), tag('p', subtitle) if subtitle else None, bar)
    foot = tag('footer', f'Written by mtpeft {__version__}, mtpeft report.')
    page = tag('html', head, tag('body', top, tag('main', body), foot, tag('script', script)),
               lang='en')  # fmt: skip
    return f'<!DOCTYPE html>\n{page}\n'


def _nothing_in(folder: Path) -> str:
    inside = sorted(p.name for p in folder.iterdir() if p.is_dir() and is_run(p))
    if inside:
        return (
            f'{folder} is not a work dir, but holds some: {", ".join(inside[:5])}. Name one of '
            f'them, such as {folder / inside[0]}.'
        )
    return (
        f'{folder} is neither the work dir of a run (it would hold */vis_data/scalars.json or '
        'result.json) nor the folder of a suite (it would hold <label>/seed<k>).'
    )
