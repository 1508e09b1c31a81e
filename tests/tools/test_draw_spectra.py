"""draw_spectra.py on a tiny model's checkpoint."""

import re

import numpy as np
import pytest
import torch
from helpers.engine import CONFIG, call_tool, tiny
from PIL import Image

from mtpeft.registry import MODELS

TOOL = 'tools/analysis_tools/draw_spectra.py'
RADIAL = dict(cw_sp=dict(filter='radial'))
SIZES = dict(base_sizes=[(6, 6), (5, 4), (2, 2), (1, 1)])
NECKS = [dict(type='ProjectionNeck', out_channels=(4, 4, 4, 4)), dict(type='TSPD')]


def write_config(folder, **options):
    path = folder / 'config.py'
    necks = [NECKS[0], dict(NECKS[1], **options)]
    path.write_text(f'_base_ = [{str(CONFIG)!r}]\nmodel = dict(necks={necks!r})\n')
    return path


def model_and_checkpoint(folder, **options):
    cfg = tiny()
    cfg.model.necks = [NECKS[0], dict(NECKS[1], **options)]
    model = MODELS.build(cfg.model)
    neck = model.necks[1]
    with torch.no_grad():
        for p in neck.parameters():
            p += 0.2 * torch.randn(p.shape)
    torch.save(dict(state_dict=model.state_dict()), folder / 'x.pth')
    return neck, folder / 'x.pth'


def rows(text, name):
    """Numbers of the lines that begin with ``name``."""
    found = re.findall(rf'^{name} +\d+ +(.*)$', text, re.M)
    return np.array([[float(word) for word in line.split()] for line in found if line])


def test_tables_and_picture(tmp_path, capsys):
    neck, checkpoint = model_and_checkpoint(tmp_path, **RADIAL)
    out = tmp_path / 'new' / 'drawn.png'
    call_tool(TOOL, write_config(tmp_path, **RADIAL), checkpoint, '--out', out)
    text = capsys.readouterr().out
    filters, bands = text.split('Consensus:')
    for task in ('semseg', 'depth'):
        wanted = [
            [*(1 + f.delta.detach()).view(4, -1).mean(1).tolist(), float(f.delta.std(correction=0))]
            for f in neck.cw_sp.filters[task]
        ]
        np.testing.assert_allclose(rows(filters, task), wanted, atol=6e-5)
        wanted = [
            [float(getattr(b, n)) for n in ('alpha_low', 'alpha_high', 'g_low', 'g_high')]
            for b in neck.xt_cons.bands[task]
        ]
        np.testing.assert_allclose(rows(bands, task), wanted, atol=6e-5)
    with Image.open(out) as picture:
        pixels = np.asarray(picture.convert('RGB')).astype(int)
    assert min(pixels.shape[:2]) > 500
    # both tasks' colours are there, and so is white paper
    for color in [(31, 119, 180), (255, 127, 14), (255, 255, 255)]:
        assert (abs(pixels - color).sum(-1) < 30).sum() > 100


@pytest.mark.parametrize('options, said', [
    (dict(xt_cons=None), ('Gain', 'Consensus')),
    (dict(cw_sp=None), ('Consensus', 'Gain')),
    (dict(RADIAL, xt_cons=None), ('Gain', 'Consensus')),
    (dict(SIZES, xt_cons=None), ('Gain', 'Consensus')),
])  # fmt: skip
def test_parts_alone(options, said, tmp_path, capsys):
    _, checkpoint = model_and_checkpoint(tmp_path, **options)
    call_tool(TOOL, write_config(tmp_path, **options), checkpoint, '--out', tmp_path / 'a.png')
    text = capsys.readouterr().out
    assert said[0] in text and said[1] not in text and 'Drawn in' in text
    assert len(rows(text, 'depth')) == 4
    with Image.open(tmp_path / 'a.png') as picture:
        assert len(set(picture.convert('L').getdata())) > 20


def test_full_filter_shows_the_mean_of_each_ring(tmp_path, capsys):
    neck, checkpoint = model_and_checkpoint(tmp_path, **SIZES)
    call_tool(TOOL, write_config(tmp_path, **SIZES), checkpoint, '--out', tmp_path / 'a.png')
    table = capsys.readouterr().out.split('Consensus:')[0]
    delta = neck.cw_sp.filters['depth'][3].delta
    lines = re.findall(r'^depth +3 +(.*)$', table, re.M)
    # one pixel has its mean only: the first bin
    assert lines[0].split()[1:4] == ['nan'] * 3
    assert float(lines[0].split()[0]) == pytest.approx(1 + float(delta.mean()), abs=6e-5)


def test_a_model_without_any_is_named(tmp_path):
    torch.save(dict(state_dict=MODELS.build(tiny().model).state_dict()), tmp_path / 'x.pth')
    with pytest.raises(SystemExit, match="no spectral filters.*dict\\(type='TSPD'\\)"):
        call_tool(TOOL, CONFIG, tmp_path / 'x.pth')
