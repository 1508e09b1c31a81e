"""The tables of a suite: what is listed, marked, escaped, and what Delta_m is over."""

import csv
import json
import re
import statistics

import pytest
from helpers.suites import compare, fake_tools, make_suite, run

from mtpeft.apis.suite import collect, load_suite, report, write_report
from mtpeft.apis.suite.columns import figures_table
from mtpeft.apis.suite.content import Content
from mtpeft.apis.suite.latex import escape, latex
from mtpeft.apis.suite.summary import Row, Stat, Summary, summarise

TASKS = dict(semseg=('mIoU', False), depth=('rmse', True))
FIGURES = dict(
    semseg=dict(semseg=('mIoU', [40.0, 44.0, 42.0], False)),
    depth=dict(depth=('rmse', [1.0, 0.8, 0.9], True)),
    lora=dict(semseg=('mIoU', [42.0, 43.0, 44.0], False), depth=('rmse', [0.9, 0.8, 0.7], True)),
    dora=dict(semseg=('mIoU', [48.0, 49.5, 50.0], False), depth=('rmse', [0.8, 0.7, 0.6], True)),
    vpt=dict(semseg=('mIoU', [30.0, 32.0, 31.0], False), depth=('rmse', [0.9, 0.9, 0.95], True)),
)


@pytest.fixture(scope='module', autouse=True)
def no_plots():
    """Plots have tests of their own, and take most of the time of a report."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, 'plot_delta', lambda rows, title: {'png': b'a plot'})
        yield


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """A finished suite of three seeds."""
    folder = tmp_path_factory.mktemp('made')
    suite = load_suite(str(make_suite(folder, FIGURES, seeds=[0, 1, 2])))
    run(suite, folder)
    return suite, folder / 'work'


def lines_of(text, start='| '):
    """The cells of a Markdown table by the first."""
    rows = [line.strip('|').split(' | ') for line in text.splitlines() if line.startswith(start)]
    return {row[0].strip(): [cell.strip() for cell in row] for row in rows}


# -- what is listed ----------------------------------------------------------------------------


def test_only_what_was_asked_for_is_listed(made, tmp_path):
    suite, work = made
    _, chosen = suite.with_configs(['dora'])
    summary = write_report(suite, work, chosen=chosen)
    assert [row.label for row in summary.rows] == ['single_task', 'dora']
    text = (work / 'table.md').read_text()
    assert 'lora' not in text.replace('dora', '') and 'vpt' not in text
    assert [row['method'] for row in csv.DictReader(open(work / 'table.csv'))] == [
        'single_task', 'dora'
    ]  # fmt: skip
    # its figures do not depend on what is listed beside it
    everything = write_report(suite, work)
    assert everything.rows[2] == summary.rows[1]


def test_runs_of_nobody_are_not_listed(tmp_path):
    suite = load_suite(str(make_suite(tmp_path, FIGURES, semseg='error')))
    _, chosen = suite.with_configs(['lora', 'semseg'])
    run(suite, tmp_path, chosen)
    summary = write_report(suite, tmp_path / 'work', chosen=chosen)
    assert [row.label for row in summary.rows] == ['single_task', 'lora']
    _, chosen = suite.with_configs(['lora'])
    summary = write_report(suite, tmp_path / 'work', chosen=chosen)
    assert [row.label for row in summary.rows] == ['lora']
    assert not (tmp_path / 'work/delta_m.png').exists()


# -- what Delta_m is over ----------------------------------------------------------------------

EVALUATOR = """
val_evaluator = dict(type='MultiTaskEvaluator', tasks=['depth', dict(type='semseg', num_classes=4)],
                     baselines=dict(semseg={semseg}, depth=dict(rmse=0.5, abs_rel=0.2)))
"""


def name_baselines(folder, **values):
    for label, semseg in values.items():
        file = folder / f'{label}.py'
        file.write_text(file.read_text() + EVALUATOR.format(semseg=semseg))


def test_baselines_of_the_configs_where_no_single_task_run_is(tmp_path):
    path = make_suite(tmp_path, FIGURES)
    name_baselines(tmp_path, lora=20.0, dora=20.0)
    suite = load_suite(str(path))
    run(suite, tmp_path, [entry for entry in suite.entries if entry.label != 'depth'])
    rows = {row.label: row for row in write_report(suite, tmp_path / 'work').rows}
    # of semseg the run's 40, of depth the configs' .5
    assert rows['lora'].delta_m.mean == pytest.approx((100 * 2 / 40 - 100 * 0.4 / 0.5) / 2)
    text = (tmp_path / 'work/table.md').read_text()
    assert re.search(r'Δm: .* single-task runs .* where there is none, .*\(depth rmse 0\.5\)', text)
    # networks of some tasks are no single-task row with a sum
    assert rows['single_task'].delta_m is None and rows['single_task'].parameters == {}
    file = tmp_path / 'work/baselines.json'
    assert json.loads(file.read_text()) == dict(baselines=dict(semseg=dict(mIoU=40.0)))
    _, chosen = suite.with_configs(['lora', 'dora'])
    (tmp_path / 'work/semseg/seed0/result.json').unlink()
    rows = write_report(suite, tmp_path / 'work', chosen=chosen).rows
    assert rows[0].delta_m.mean == pytest.approx((100 * 22 / 20 - 100 * 0.4 / 0.5) / 2)
    assert 'no finished single-task run' in (tmp_path / 'work/table.md').read_text()
    assert not file.exists()


def test_configs_that_disagree_give_no_baseline(tmp_path):
    path = make_suite(tmp_path, FIGURES)
    name_baselines(tmp_path, lora=20.0, dora=25.0)
    suite = load_suite(str(path))
    _, chosen = suite.with_configs(['lora', 'dora'])
    run(suite, tmp_path, chosen)
    rows = write_report(suite, tmp_path / 'work', chosen=chosen).rows
    assert [row.delta_m for row in rows] == [None, None]
    assert 'semseg (20, 25 in the configs)' in rows[0].delta_note


# -- marks -------------------------------------------------------------------------------------


def table_of(*stats, lower=False, roles=None):
    line = dict(metric='m', unit='%', lower_is_better=lower)
    roles = roles or ['method'] * len(stats)
    rows = [Row(f'r{i}', role, metrics=dict() if s is None else {'t/m': Stat.of(s)})
            for i, (s, role) in enumerate(zip(stats, roles, strict=True))]  # fmt: skip
    table = figures_table(Summary(rows, dict(t=line), None), {})
    return [row[1].mark for row in table.rows]


@pytest.mark.parametrize(
    ('stats', 'lower', 'expected'),
    [
        (([1], [3], [2]), False, ['', 'best', 'second']),
        (([1], [3], [2]), True, ['best', '', 'second']),
        # alike as printed: the same place
        (([3.001], [3.004], [2], [1]), False, ['best', 'best', 'second', '']),
        (([1, 5], [3], None), False, ['', '', '']),
        (([1], [2]), False, ['', 'best']),
        (([1],), False, ['']),
        (([-1], [-3], [-2]), False, ['best', '', 'second']),
    ],
)
def test_the_best_and_the_second_are_marked(stats, lower, expected):
    assert table_of(*stats, lower=lower) == expected


def test_single_task_networks_do_not_compete():
    marks = table_of([9], [1], [3], [2], roles=['single_task', *['method'] * 3])
    assert marks == ['', '', 'best', 'second']


def test_markdown_marks_and_tests(made):
    suite, work = made
    write_report(suite, work, against='lora')
    text = (work / 'table.md').read_text()
    rows = lines_of(text.split('## Runs')[0])
    assert rows['method'][1:5] == ['semseg mIoU % ↑', 'depth rmse m ↓', 'Δm % ↑', 'p']
    assert rows['dora'][1] == '**49.17 ± 1.04**' and rows['lora'][1] == '<u>43.00 ± 1.00</u>'
    assert rows['lora'][4] == 'reference' and rows['single_task'][4] == '-'
    summary = summarise(collect(suite, work))
    found = Content.of(suite, collect(suite, work), 'lora').p_values
    assert rows['dora'][4] == f'{found["dora"]:.3f}' and set(found) == {'dora', 'vpt'}
    assert '3 seeds), corrected for 2 rows (Holm)' in text
    for line in csv.DictReader(open(work / 'table.csv')):
        p = line['p against lora']
        assert (float(p) == found[line['method']]) if p else line['method'] not in found
    lora = next(row for row in summary.rows if row.label == 'lora')
    gains = [50 * ((m - 42) / 42 - (r - 0.9) / 0.9) for m, r in ((42, 0.9), (43, 0.8), (44, 0.7))]
    assert lora.delta_m.values == pytest.approx(gains)
    assert lora.delta_m.std == pytest.approx(statistics.stdev(gains))


# -- LaTeX -------------------------------------------------------------------------------------

BACK = {
    r'\textbackslash{}': '\\', r'\textasciitilde{}': '~', r'\textasciicircum{}': '^',
    r'\textless{}': '<', r'\textgreater{}': '>', r'\textbar{}': '|', r'$\Delta$': 'Δ',
    r'$\pm$': '±', r'$\uparrow$': '↑', r'$\downarrow$': '↓', r'$^{\circ}$': '°',
    r'$\times$': '×', '$-$': '−', '{}': '',
}  # fmt: skip


def as_printed(source):
    """What a reader sees, token by token; a bare special character is an error."""
    out = ''
    while source:
        token = next((t for t in BACK if source.startswith(t)), None)
        if token is None and source[0] == '\\' and source[1] in '&%$#_{}':
            token = source[:2]
        token = token or source[0]
        assert token not in set('&%$#_{}~^\\<>|'), source
        out += BACK.get(token, token[-1])
        source = source[len(token) :]
    return out


def test_every_character_is_escaped():
    for text in ('a_b & c%', r'\~^{}$#', '<0.001 | x > 1', '50 % ↑ ± 3° × 2 Δm ↓ −1', 'a--b---c'):
        assert as_printed(escape(text)) == text
        assert '--' not in escape(text)


def test_latex_says_what_markdown_says(made):
    suite, work = made
    write_report(suite, work, against='lora')
    text = (work / 'table.tex').read_text()
    body = re.search(r'\\toprule\n(.*?)\\bottomrule', text, re.S)[1]
    lines = (line.removesuffix(r' \\').removeprefix('    ') for line in body.splitlines())
    rows = [line.split(' & ') for line in lines]
    header, rows = rows[:2], rows[3:-1]
    columns = len(header[0])
    assert f'\\begin{{tabular}}{{l{"r" * (columns - 1)}}}' in text
    assert all(len(row) == columns for row in rows) and body.count(r'\midrule') == 1
    assert [[as_printed(cell) for cell in line] for line in header] == [
        ['method', 'semseg', 'depth', 'Δm', 'p', 'params'],
        ['', 'mIoU (%) ↑', 'rmse (m) ↓', '(%) ↑', '', '(M)'],
    ]  # fmt: skip
    markdown = lines_of((work / 'table.md').read_text().split('## Runs')[0])
    for row in rows:
        plain = re.sub(r'\\(?:textbf|underline)\{([^}]*)\}', r'\1', ' & '.join(row))
        printed = [as_printed(cell.replace('$-$', '-')) for cell in plain.split(' & ')]
        expected = markdown[printed[0]]
        marks = str.maketrans('', '', '*')
        clean = [re.sub('</?u>', '', cell.translate(marks)) for cell in expected]
        assert printed == clean[: columns - 1] + [clean[columns - 1]]
        for cell, other in zip(row, expected, strict=False):
            assert ('textbf' in cell, 'underline' in cell) == ('**' in other, '<u>' in other)
    # every line outside of comments is balanced
    code = '\n'.join(line for line in text.splitlines() if not line.startswith('%'))
    assert code.count('{') - code.count(r'\{') == code.count('}') - code.count(r'\}')
    assert '3 seeds, mean $\\pm$ standard deviation' in code
    assert latex(Content.of(suite, collect(suite, work), 'lora')) == text


# -- the command -------------------------------------------------------------------------------


def test_the_command_prints_the_table_that_was_asked_for(tmp_path, monkeypatch, capsys):
    suite = make_suite(tmp_path, FIGURES, seeds=[0, 1])
    fake_tools(tmp_path)

    def call(*more):
        words = ('--suite', suite, '--work-dir', tmp_path / 'work', *more)
        return compare(monkeypatch, capsys, *words, root=tmp_path)

    for words, match in (
        (['--against', 'lorra'], "Did you mean 'lora'"),
        (['lora', '--against', 'dora'], 'expected the label of a method that is compared'),
        (['--against', 'lora', '--seeds', '1'], 'at least two seeds, and there is one'),
        (['--gpus', '0-1'], 'PyTorch sees no GPU'),
        (['--jobs', '0'], '1 or more'),
    ):
        with pytest.raises(SystemExit, match=match):
            call(*words)
    assert not (tmp_path / 'work').exists()
    code, out = call('--format', 'csv', '--against', 'lora', '--jobs', 2)
    # nothing else, so that a program can read it
    table = list(csv.DictReader(out.splitlines()))
    assert code == 0 and [row['method'] for row in table] == ['single_task', *list(FIGURES)[2:]]
    assert 0 < float(table[2]['p against lora']) < 1
    code, out = call('lora', '--format', 'latex', '--collect')
    assert code == 0 and out.rstrip().endswith(r'\end{table}') and 'dora' not in out
