"""The report of a tiny run: its numbers are those of the run's files; it opens from the disk."""

import json
import shutil
import statistics
from html.parser import HTMLParser

import pytest
from helpers.engine import write_base
from helpers.shrunk import shrunk_run

from mtpeft.cli import main
from mtpeft.report import ReportError, write_report
from mtpeft.report.html import VOID

PICTURES = 2


class Page(HTMLParser):
    """A page that is well formed: rows of tables, sources and data of charts."""

    def __init__(self, text):
        super().__init__()
        self.open, self.rows, self.points, self.sources, self.ids = [], [], {}, [], []
        self.links, self.charts = [], []
        self.feed(text)
        self.close()
        assert not self.open, f'not closed: {self.open}'

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag == 'tr':
            self.rows.append([])
        if tag in ('td', 'th'):
            self.rows[-1].append('')
        self.sources += [attrs['src']] if 'src' in attrs else []
        self.ids += [attrs['id']] if 'id' in attrs else []
        self.links += [attrs['href']] if 'href' in attrs else []
        if 'data-points' in attrs:
            self.charts.append(json.loads(attrs['data-points']))
            self.points |= self.charts[-1]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.rows and {'td', 'th'} & set(self.open):
            self.rows[-1][-1] += data


@pytest.fixture(scope='module')
def work_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp('report')
    shrunk_run(
        write_base(folder / 'base.pth'), folder, default_hooks__logger__interval=1,
        default_hooks__result=dict(type='ResultHook'),
        visualizer__vis_backends=[dict(type='LocalVisBackend')],
    )  # fmt: skip
    return folder / 'run'


@pytest.fixture(scope='module')
def page(work_dir):
    path = write_report(work_dir, pictures=PICTURES, among=3)
    assert path == work_dir / 'report.html'
    return Page(path.read_text(encoding='utf-8'))


@pytest.fixture(scope='module')
def records(work_dir):
    (file,) = work_dir.glob('*/vis_data/scalars.json')
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_the_metrics_are_those_of_the_last_evaluation(page, work_dir):
    metrics = json.loads((work_dir / 'result.json').read_text())['metrics']
    rmse = metrics['depth/rmse']
    depth = [row for row in page.rows if row[:2] == ['depth', 'rmse']]
    # the tiny config's baseline is 1 m
    assert depth == [['depth', 'rmse', f'{rmse:.3f}', 'm ↓', '1.000', f'{100 * (1 - rmse):+.2f}']]
    shown = {row[1]: row[2] for row in page.rows if len(row) > 2}
    assert shown['mIoU'] == f'{metrics["semseg/mIoU"]:.2f}'
    assert shown['aAcc'] == f'{metrics["semseg/aAcc"]:.2f}'


def test_the_curves_are_those_of_the_log(page, records):
    steps = [record for record in records if 'loss' in record]
    assert page.points['loss'] == [[r['iter'], r['loss']] for r in steps]
    each = next(points for points in page.charts if points.keys() == {'semseg', 'depth'})
    assert each['depth'] == [[r['iter'], r['loss_depth']] for r in steps]
    assert page.points['lr'] == [[r['iter'], r['lr']] for r in steps]


def test_ranks_over_time_and_by_layer(page, records):
    shrunk = [record for record in records if 'rank/mean' in record]
    means = dict(page.points['all'])
    for number, record in enumerate(shrunk[:-1], start=1):
        # the mean of the log counts streams in use, as the report does
        assert means[number] == pytest.approx(record['rank/mean'])
    key = 'rank/backbone.network.layers.0.blocks.0.mlp.fc1/'
    wanted = [str(shrunk[-1][key + stream]) for stream in ('shared', 'semseg', 'depth')]
    assert ['0.mlp.fc1', *wanted] in page.rows


def test_parameters_and_their_sum(page, work_dir):
    counts = json.loads((work_dir / 'result.json').read_text())['parameters']
    shown = {row[0]: row[1] for row in page.rows if len(row) == 4}
    for name, count in counts['components'].items():
        assert shown[name] == f'{count:,}'
    assert shown['trainable'] == f'{counts["trainable"]:,}'
    assert shown['left without pruned components'] == f'{counts["effective"]:,}'


def test_pictures_have_truth_and_prediction(page):
    # the photograph of each, and two maps a task; of the worst pictures the maps alone
    assert all(source.startswith('data:image/') for source in page.sources)
    jpegs = [source for source in page.sources if source.startswith('data:image/jpeg')]
    assert len(jpegs) == PICTURES * (1 + 2 * 2) + 2 * 3 * 2
    assert {'results', 'curves', 'pictures', 'worst-pictures', 'ranks', 'config'} <= set(page.ids)
    assert all(link[1:] in page.ids for link in page.links if link.startswith('#'))


def test_no_photograph_where_none_may_be(work_dir, tmp_path):
    def jpegs(draw_input):
        path = write_report(work_dir, tmp_path / 'a.html', 1, None, draw_input, among=1)
        return {s for s in Page(path.read_text()).sources if 'jpeg' in s}

    with_input, without = jpegs(True), jpegs(False)
    assert len(with_input - without) > 1  # the photograph, and class maps over it
    (work_dir / 'vis').mkdir(exist_ok=True)
    path = write_report(work_dir, tmp_path / 'b.html', draw_input=False)
    assert not Page(path.read_text()).sources


def test_a_suite_has_rows_links_and_its_own_baselines(work_dir, tmp_path, capsys):
    result = json.loads((work_dir / 'result.json').read_text())
    suite, values = tmp_path / 'tiny', {'lora': (30.0, 32.0), 'single': (25.0,)}
    for label, found in values.items():
        for seed, value in enumerate(found):
            target = suite / label / f'seed{seed}'
            shutil.copytree(work_dir, target, ignore=shutil.ignore_patterns('*.pth', '*.html'))
            result['headline']['semseg']['value'] = value
            result['headline']['depth']['value'] = 1.0 if label == 'single' else 0.9
            (target / 'result.json').write_text(json.dumps(result))
            role = 'single_task' if label == 'single' else 'method'
            recipe = dict(label=label, seed=seed, role=role, config='c.py', cfg_options={})
            (target / 'recipe.json').write_text(json.dumps(recipe))
    assert main(['report', str(suite)]) == 0
    assert 'report.html' in capsys.readouterr().out
    page = Page((suite / 'report.html').read_text())
    deltas = [(100 * (v - 25) / 25 + 10) / 2 for v in values['lora']]
    row = next(row for row in page.rows if row[0] == 'lora')
    assert row[1] == f'31.00 ± {statistics.stdev(values["lora"]):.2f}'
    assert f'{statistics.fmean(deltas):+.2f} ± {statistics.stdev(deltas):.2f}' in row
    assert {'#run-lora-seed0', '#run-lora-seed1'} <= set(page.links)
    assert len(page.ids) == len(set(page.ids))
    assert all(link[1:] in page.ids for link in page.links if link.startswith('#'))


def test_folders_that_are_none_are_refused_in_words(work_dir, tmp_path, capsys):
    assert main(['report', str(tmp_path / 'no')]) == 1
    assert 'there is no such folder' in capsys.readouterr().err
    assert main(['report', str(tmp_path)]) == 1
    assert 'neither the work dir of a run' in capsys.readouterr().err
    assert main(['report', str(work_dir.parent)]) == 1
    assert f'such as {work_dir}' in capsys.readouterr().err
    damaged = tmp_path / 'damaged'
    damaged.mkdir()
    (damaged / 'result.json').write_text('{')
    with pytest.raises(ReportError, match='result.json is damaged'):
        write_report(damaged)


def test_it_works_in_a_browser(work_dir, page):
    playwright = pytest.importorskip('playwright.sync_api')
    browser = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'chrome'))), '')
    if not browser:
        pytest.skip('there is no Chromium on this machine')
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=browser, args=['--no-sandbox'])
        for width, scheme in ((1400, 'light'), (390, 'dark')):
            shown = opened.new_page(
                viewport=dict(width=width, height=900), color_scheme=scheme
            )  # fmt: skip
            problems, asked = [], []
            shown.on('pageerror', lambda error, into=problems: into.append(str(error)))
            shown.on('request', lambda request, into=asked: into.append(request.url))
            shown.goto((work_dir / 'report.html').as_uri())
            assert shown.evaluate('document.documentElement.scrollWidth') <= width
            shown.locator('.slider input').first.fill('20')
            slider = shown.locator('.slider').first
            assert slider.evaluate('e => e.style.getPropertyValue("--x")') == '20%'
            shown.locator('.chart svg').first.hover()
            assert 'iteration' in shown.locator('.readout').first.inner_text()
            assert not problems
            assert all(url.startswith(('file:', 'data:')) for url in asked)
        opened.close()
