"""Make the images of the documentation again, and say which could not be made.

    python tools/misc/make_docs_images.py                      # those that need no run
    python tools/misc/make_docs_images.py --scenes SUITE --first-run WORK_DIR --nyud SUITE
    python tools/misc/make_docs_images.py --only faar_grid.png lanes.png

--scenes is the folder of `mtpeft compare --suite scenes mtlora faar sinewich`, --nyud that of
`mtpeft compare --suite nyud_long`, --first-run the work dir of `mtpeft train
faar_efficientnet-lite2_scenes`. Of NYUDv2 no photograph is drawn. Screenshots need a browser.
"""

import argparse
import importlib
import json
import runpy
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from mmengine.logging import MMLogger

from mtpeft.apis import from_pretrained
from mtpeft.apis.inference import compare_predictions
from mtpeft.registry import DATASETS

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / 'docs' / 'images'
SHIPPED = 'mtpeft:faar_efficientnet-lite2_scenes'
#: of the validation set: persons, furniture, an animal
SCENES = (0,)
ROOMS = (60,)
ORDER = ('semseg', 'human_parts', 'sal', 'normals', 'depth', 'edge')


class NotMade(Exception):
    """An image could not be made, said in words."""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--scenes', type=Path, metavar='SUITE', help='see above')
    parser.add_argument('--nyud', type=Path, metavar='SUITE', help='see above')
    parser.add_argument('--first-run', type=Path, metavar='WORK_DIR', help='see above')
    parser.add_argument('--data-root', metavar='DIR', help='folder of NYUDv2, for --nyud')
    parser.add_argument('--only', nargs='+', metavar='NAME', help='these images')
    parser.add_argument('--out', type=Path, default=OUT, metavar='DIR', help='docs/images')
    return parser.parse_args()


def faar_grid(args: argparse.Namespace) -> None:
    """The grid of the first command."""
    model = from_pretrained(args.first_run or SHIPPED)
    dataset = DATASETS.build(model.cfg.val_dataloader.dataset)
    pictures = [dataset[i] for i in SCENES]
    sheet = compare_predictions({'prediction': model}, pictures, density=1.05, tasks=ORDER)
    sheet.save(args.out / 'faar_grid.png')


def scenes_grid(args: argparse.Namespace) -> None:
    """Methods side by side on scenes."""
    labels = {'mtlora': 'MTLoRA', 'faar': 'FAAR', 'sinewich': 'Free Sinewich'}
    found = {
        shown: from_pretrained(_run(args.scenes, label, '--scenes'))
        for label, shown in labels.items()
    }
    dataset = DATASETS.build(next(iter(found.values())).cfg.val_dataloader.dataset)
    pictures = [dataset[i] for i in SCENES]
    sheet = compare_predictions(found, pictures, 120, density=1.15, tasks=ORDER)
    sheet.save(args.out / 'scenes_grid.png')


def nyud_grid(args: argparse.Namespace) -> None:
    """Methods side by side on NYUDv2, without its photographs."""
    labels = {'mtlora': 'MTLoRA', 'faar': 'FAAR', 'sinewich': 'Free Sinewich'}
    found = {
        shown: from_pretrained(_run(args.nyud, label, '--nyud')) for label, shown in labels.items()
    }
    data = next(iter(found.values())).cfg.val_dataloader.dataset
    data.data_root = args.data_root or data.data_root
    dataset = DATASETS.build(data)
    sheet = compare_predictions(
        found, [dataset[i] for i in ROOMS], 140, False, 1.25, ('semseg', 'depth', 'normals')
    )  # fmt: skip
    sheet.save(args.out / 'nyud_grid.png')


def faar_ranks(args: argparse.Namespace) -> None:
    _tool('analysis_tools/rank_report.py', _run(args.scenes, 'faar', '--scenes'),
          '--out', args.out / 'faar_ranks.png')  # fmt: skip


def faar_spectra(args: argparse.Namespace) -> None:
    run = _run(args.scenes, 'faar', '--scenes')
    _tool('analysis_tools/draw_spectra.py', _config(run), _last(run),
          '--out', args.out / 'faar_spectra.png')  # fmt: skip


def sinewich_omega(args: argparse.Namespace) -> None:
    run = _run(args.scenes, 'sinewich', '--scenes')
    _tool('analysis_tools/omega_report.py', _config(run), _last(run),
          '--out', args.out / 'sinewich_omega.png')  # fmt: skip


def scenes_delta_m(args: argparse.Namespace) -> None:
    _delta(args.out / 'scenes_delta_m.png', 'Rendered scenes, six tasks', 'human_parts mIoU')


def nyud_delta_m(args: argparse.Namespace) -> None:
    _delta(args.out / 'nyud_delta_m.png', 'NYUDv2, three tasks', 'semseg mIoU')


def _delta(target: Path, title: str, column: str) -> None:
    """Delta_m against parameters, of the last table in docs/benchmarks.md with such columns."""
    from mtpeft.apis.suite.plot import plot_delta
    from mtpeft.apis.suite.summary import SINGLE_TASK, Row, Stat

    tables: list[list[dict[str, str]]] = []
    header: list[str] = []
    for line in (ROOT / 'docs' / 'benchmarks.md').read_text(encoding='utf-8').splitlines():
        cells = [cell.strip() for cell in line.strip('|').split('|')]
        if not line.startswith('|'):
            header = []
        elif not header:
            header = cells
            tables.append([])
        elif not cells[0].startswith('--'):
            tables[-1].append(dict(zip(header, cells, strict=False)))
    wanted = [
        rows for rows in tables
        if rows and {'Δm % ↑', 'trainable M'} <= set(rows[0])
        and any(name.startswith(column) for name in rows[0])
        and len([name for name in rows[0] if 'mIoU' in name]) == (3 if 'parts' in column else 1)
    ]  # fmt: skip
    if not wanted:
        raise NotMade(f'docs/benchmarks.md has no such table with {column}')
    rows = []
    for cells in wanted[0]:
        label = cells['method'].split('[')[0]
        if label.endswith('_random'):
            continue  # so far below that it would press the others together
        found = sorted((ROOT / 'configs').glob(f'*/{label}_*.py'))
        rows.append(Row(
            label, SINGLE_TASK if label == SINGLE_TASK else 'method',
            family=found[0].parent.name if found else label,
            delta_m=Stat.of([float(cells['Δm % ↑'])]),
            parameters=dict(trainable=round(1e6 * float(cells['trainable M']))),
        ))  # fmt: skip
    target.write_bytes(plot_delta(rows, title)['png'])


def lanes(args: argparse.Namespace) -> None:
    if args.out != OUT:
        raise NotMade('docs/draw_lanes.py writes into docs/images alone')
    _tool('../docs/draw_lanes.py')


def report(args: argparse.Namespace) -> None:
    """The report of a run, at the width of a desktop and of a phone."""
    run = _run(args.scenes, 'faar', '--scenes')
    page = args.out / 'report.html'
    _command('report', run, '--pictures', '2', '--among', '20', '--out', page)
    try:
        _screenshots(page, args.out / 'report.jpg')
    finally:
        page.unlink()


IMAGES: dict[str, Callable[[argparse.Namespace], None]] = {
    'faar_grid.png': faar_grid, 'scenes_grid.png': scenes_grid, 'nyud_grid.png': nyud_grid,
    'faar_ranks.png': faar_ranks, 'faar_spectra.png': faar_spectra,
    'sinewich_omega.png': sinewich_omega, 'scenes_delta_m.png': scenes_delta_m,
    'nyud_delta_m.png': nyud_delta_m,
    'lanes.png': lanes, 'report.jpg': report,
}  # fmt: skip

#: Images that come from elsewhere, and how.
OTHERS = {
    'demo.jpg': 'a screenshot of mtpeft demo, by hand',
    'faar_nyud_ranks.png': 'rank_report.py of the run that docs/benchmarks.md prints',
    'faar_plus_nyud_ranks.png': 'rank_report.py of the run of configs/faar/faar-plus_*_nyud.py',
    'mtlora_tasks.png': 'analysis_tools/benchmark.py, a sweep on a quiet machine',
    'mtlora_ranks.png': 'analysis_tools/benchmark.py, a sweep on a quiet machine',
    'mtlora_sizes.png': 'analysis_tools/benchmark.py, a sweep on a quiet machine',
}


def _run(suite: Path | None, label: str, option: str) -> Path:
    if suite is None:
        raise NotMade(f'it needs {option}')
    runs = sorted((suite / label).glob('seed?'))
    if not runs or not (runs[0] / 'last_checkpoint').is_file():
        raise NotMade(f'{suite} has no finished run of {label}')
    return runs[0]


def _config(run: Path) -> Path:
    """The config that the run was started with: its tasks have their order."""
    return ROOT / json.loads((run / 'recipe.json').read_text())['config']


def _last(run: Path) -> Path:
    return run / Path((run / 'last_checkpoint').read_text().strip()).name


def _tool(name: str, *words: object) -> None:
    with mock.patch.object(sys, 'argv', [name, *map(str, words)]), _quiet():
        runpy.run_path(str(ROOT / 'tools' / name), run_name='__main__')


def _command(*words: object) -> None:
    from mtpeft.cli import main

    with _quiet():
        if main([str(word) for word in words]):
            raise NotMade(f'mtpeft {words[0]} failed')


@contextmanager
def _quiet() -> Iterator[None]:
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()):
        yield


def _screenshots(page: Path, target: Path) -> None:
    """A desktop in light and a phone in dark, side by side."""
    import io
    import shutil

    from PIL import Image

    try:  # by its name: nothing but this picture asks for it, so it is no requirement
        sync_playwright = importlib.import_module('playwright.sync_api').sync_playwright
    except ImportError as error:
        raise NotMade('it needs playwright, and a browser') from error
    browser = shutil.which('chromium') or shutil.which('chrome')
    shots = []
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=browser, args=['--no-sandbox'])
        for width, height, scheme, part in (
            (1240, 1500, 'light', '#results'), (390, 1500, 'dark', '#pictures')
        ):  # fmt: skip
            view = dict(width=width, height=height)
            shown = opened.new_page(viewport=view, color_scheme=scheme)
            shown.goto(page.resolve().as_uri() + ('' if scheme == 'light' else part))
            shown.wait_for_timeout(1500)  # it scrolls
            shots.append(Image.open(io.BytesIO(shown.screenshot())).convert('RGB'))
        opened.close()
    whole = Image.new('RGB', (sum(s.width for s in shots) + 24, shots[0].height), 'white')
    left = 0
    for shot in shots:
        whole.paste(shot, (left, 0))
        left += shot.width + 24
    whole.thumbnail((1400, 2000))
    whole.save(target, quality=84)


def main() -> None:
    args = parse_args()
    MMLogger.get_instance('images', log_level='ERROR')
    args.out.mkdir(parents=True, exist_ok=True)
    for name, make in IMAGES.items():
        if args.only and name not in args.only:
            continue
        try:
            make(args)
            print(f'made      {name} ({(args.out / name).stat().st_size / 1e3:.0f} kB)', flush=True)
        except (NotMade, OSError, SystemExit) as error:
            print(f'not made  {name}: {error}', flush=True)
    for name, how in OTHERS.items():
        if not args.only:
            print(f'not made  {name}: {how}')


if __name__ == '__main__':
    main()
