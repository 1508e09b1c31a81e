"""omega_report.py: the tables say what is in the file, the picture shows it."""

import re

import numpy as np
import pytest
import torch
from helpers.engine import CONFIG, call_tool, tiny, train, write_base
from helpers.frequencies import (
    SITES,
    TASKS,
    effective_rank,
    lowpass,
    matrix,
    omegas,
    with_frequencies,
)
from PIL import Image

from mtpeft.checkpoints.files import safe_load
from mtpeft.registry import MODELS

TOOL = 'tools/analysis_tools/omega_report.py'
SITE = SITES[2]


def trained(folder, **options):
    """A run in ``folder/run`` with its config beside it."""
    options = dict(optim_wrapper__optimizer__lr=0.05, **options)
    cfg = with_frequencies(write_base(folder / 'base.pth'), **options)
    cfg.dump(folder / 'config.py')
    train(cfg, folder / 'run')
    return folder


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return trained(tmp_path_factory.mktemp('omega'), hook=dict(rank_interval=2))


@pytest.fixture(scope='module')
def saved(folder):
    return safe_load(folder / 'run' / 'epoch_3.pth')


def report(folder, checkpoint, out, capsys, *options):
    capsys.readouterr()
    call_tool(TOOL, folder / 'config.py', checkpoint, '--out', out, *options)
    return capsys.readouterr().out


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert('RGB')).astype(int)


def rows(text, title):
    """Cells of the table below a line, by the first of them."""
    lines = text.split(title, 1)[1].splitlines()[3:]
    lines = lines[: lines.index('') if '' in lines else None]
    return {line.split()[0]: line.split()[1:] for line in lines}


def numbers(cells):
    return [float(cell) for cell in cells]


def test_tables_and_picture(folder, saved, tmp_path, capsys):
    out = tmp_path / 'new' / 'omega.png'
    said = report(folder, folder / 'run' / 'epoch_3.pth', out, capsys)
    state, history = saved['state_dict'], saved['frequencies']['history']
    start, now = history[0]['omegas']['backbone'], omegas(state)
    table = rows(said, 'epoch_3.pth:')
    for task in TASKS:
        wanted = [start[task], now[task], now[task] - start[task]]
        assert numbers(table[task]) == pytest.approx(wanted, abs=0.006)
    spreads = [abs(o['semseg'] - o['depth']) for o in (start, now)]
    for row, factor in (('spread', 1), ('deviation', 0.5)):
        one, other = (factor * s for s in spreads)
        assert numbers(table[row]) == pytest.approx([one, other, other - one], abs=0.006)

    sine, low = rows(said, 'rank of sin(omega M):'), rows(said, 'rank after the low-pass:')
    assert list(sine) == list(low) == [*SITES, 'decoder']
    for site in sine:
        m = matrix(state, site)
        assert ' '.join(sine[site][:3]) == '{} x {}'.format(*m.shape)
        turned = [np.sin(now[task] * m) for task in TASKS]
        for table, weights in ((sine, turned), (low, map(lowpass, turned))):
            wanted = [effective_rank(m), *map(effective_rank, weights)]
            assert numbers(table[site][3:]) == pytest.approx(wanted, abs=0.006)
    assert 'Effective rank of M:' not in said and 'does not say' not in said

    way = rows(said, 'adds, over training:')
    assert list(way) == ['0', '2', '3']
    largest = max(low, key=lambda site: matrix(state, site).size)
    assert f'Effective rank of what {largest} adds' in said
    assert way['3'][1:] == low[largest][4:] and numbers(way['0'][1:]) == [0, 0]

    drawn = pixels(out)
    assert min(drawn.shape[:2]) > 500
    # both tasks' colours are there, and so are M's and white paper
    for colour in [(31, 119, 180), (255, 127, 14), (0, 0, 0), (255, 255, 255)]:
        assert (abs(drawn - colour).sum(-1) < 30).sum() > 100
    assert f'Drawn in {out}.' in said


def test_a_published_file_has_no_way(folder, tmp_path, capsys):
    source, out = folder / 'run' / 'epoch_3.pth', tmp_path / 'out.safetensors'
    call_tool('tools/model_converters/publish_model.py', source, out)
    said = report(folder, out, tmp_path / 'a.png', capsys)
    whole = report(folder, source, tmp_path / 'b.png', capsys)
    assert (
        'does not say how frequencies changed (only checkpoints of runs with FrequencyHook' in said
    )
    now = {row: cells[1] for row, cells in rows(whole, 'epoch_3.pth:').items()}
    assert {t: c[0] for t, c in rows(said, 'safetensors:').items() if t != 'The'} == now
    for title in ('rank of sin(omega M):', 'rank after the low-pass:'):
        assert rows(said, title) == rows(whole, title)
    assert 'over training' not in said
    assert pixels(tmp_path / 'a.png').shape[1] < pixels(tmp_path / 'b.png').shape[1]


def test_another_site(folder, saved, tmp_path, capsys):
    source = folder / 'run' / 'epoch_3.pth'
    said = report(folder, source, tmp_path / 'a.png', capsys, '--site', SITE)
    ranks = saved['frequencies']['history'][-1]['effective_ranks'][SITE]
    assert f'{SITE} adds, over training:' in said
    assert rows(said, 'adds, over training:')['3'][1:] == [f'{ranks[t]:.2f}' for t in TASKS]
    report(folder, source, tmp_path / 'b.png', capsys)
    assert not np.array_equal(pixels(tmp_path / 'a.png'), pixels(tmp_path / 'b.png'))


def test_layers_with_a_clock_and_tasks_with_a_base_each(tmp_path, capsys):
    """Before a first step B, and with it all that lanes add, is 0."""
    cfg = with_frequencies(clock=dict(per='layer'), decoder=False,
                           awb=dict(base='independent', lowpass=False))  # fmt: skip
    cfg.dump(tmp_path / 'config.py')
    model = MODELS.build(cfg.model)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'x.pth')
    said = report(tmp_path, tmp_path / 'x.pth', tmp_path / 'a.png', capsys)
    clock = model.backbone.clock
    for index, site in enumerate(SITES):
        first, second = clock.frequencies(site=index).tolist()
        assert re.search(rf'^{site} +semseg +{first:.2f}\n +depth +{second:.2f}\n', said, re.M)
    for title in ('rank of M:', 'rank of sin(omega M):'):
        assert all(cells[3:] == ['0.00', '0.00'] for cells in rows(said, title).values())
    assert 'after the low-pass' not in said and 'does not say' in said
    assert len(np.unique(pixels(tmp_path / 'a.png'))) > 20


# -- bad input -------------------------------------------------------------------------------------


def refused(match, *words):
    with pytest.raises(SystemExit, match=match):
        call_tool(TOOL, *words)


def test_an_unknown_site(folder):
    checkpoint = folder / 'run' / 'epoch_3.pth'
    refused(rf"--site: '{SITE}0' is no layer.*Did you mean '{SITE}'", folder / 'config.py',
            checkpoint, '--site', f'{SITE}0')  # fmt: skip


def test_files_that_cannot_be_used(folder, tmp_path):
    refused('none.pth does not exist', folder / 'config.py', tmp_path / 'none.pth')
    torch.save(dict(state_dict=MODELS.build(tiny().model).state_dict()), tmp_path / 'x.pth')
    refused('another architecture', folder / 'config.py', tmp_path / 'x.pth')
    refused('tiny_engine.py has no frequencies. What has them: SineAWB, ', CONFIG,
            tmp_path / 'x.pth')  # fmt: skip
