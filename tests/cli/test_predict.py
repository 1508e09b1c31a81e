"""mtpeft predict, as it is typed."""

import argparse
import json

import cv2
import numpy as np
import pytest
from models.tiny_models import tiny_model

from mtpeft.cli import main, model_argument, predict


@pytest.fixture
def model(monkeypatch):
    made = tiny_model().eval()
    monkeypatch.setattr(model_argument, 'read_model', lambda args: made)
    return made


@pytest.fixture
def photos(tmp_path):
    root = tmp_path / 'photos'
    root.mkdir()
    for name, seed in (('a', 0), ('b', 1)):
        rgb = np.random.default_rng(seed).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        cv2.imwrite(str(root / f'{name}.png'), rgb)
    return root


def test_a_folder_is_predicted(model, photos, tmp_path, capsys):
    out = tmp_path / 'out'
    assert main(['predict', 'M', str(photos), '--out', str(out), '--tasks', 'depth', 'sal']) == 0
    said = capsys.readouterr().out
    assert 'depth' in said and '2 pictures' in said and str(out) in said
    index = json.loads((out / 'maps.json').read_text())
    assert list(index['tasks']) == ['sal', 'depth'] and index['model'] == 'M'
    assert cv2.imread(str(out / 'maps/depth/a.png'), cv2.IMREAD_UNCHANGED).dtype == np.uint16
    assert (out / 'drawings/b.png').is_file()


def test_some_that_fail_are_listed_and_the_status_says_so(model, photos, tmp_path, capsys):
    (photos / 'c.jpg').write_bytes(b'no')
    assert main(['predict', 'M', str(photos), '--out', str(tmp_path / 'out')]) == 1
    said = capsys.readouterr()
    assert 'Predicted 2 pictures' in said.out
    assert '1 of 3 inputs failed' in said.err and 'c.jpg' in said.err


@pytest.mark.parametrize(
    ('words', 'match'),
    [
        (['{photos}', '--tasks', 'dept'], "no task 'dept'. Did you mean 'depth'"),
        (['{photos}/none*.jpg'], 'no file fits this pattern'),
        (['https://example.org/a.jpg'], 'is an address'),
        (['{photos}', '--out', '{photos}/a.png'], 'nothing can be written into this folder'),
    ],
)
def test_nothing_is_begun_where_something_is_wrong(model, photos, tmp_path, capsys, words, match):
    words = [word.format(photos=photos) for word in words]
    out = [] if '--out' in words else ['--out', str(tmp_path / 'out')]
    assert main(['predict', 'M', *words, *out]) == 2
    assert match in capsys.readouterr().err
    assert not list((tmp_path / 'out').glob('*'))


def test_half_precision_is_close(model, photos, tmp_path):
    before = dict(model.named_parameters())['decoder.heads.sal.conv2.weight'].dtype
    words = [str(photos), '--tasks', 'sal', '--save', 'maps', '--maps', 'npy']
    assert main(['predict', 'M', *words, '--out', str(tmp_path / 'full')]) == 0
    assert main(['predict', 'M', *words, '--half', '--out', str(tmp_path / 'half')]) == 0
    full, half = (np.load(tmp_path / kind / 'maps/sal/a.npy') for kind in ('full', 'half'))
    assert 0 < np.abs(full - half).max() < 0.02
    model.to(before)


@pytest.mark.parametrize(
    ('text', 'value'), [('auto', 'auto'), ('none', None), ('512', (512, 512)), ('8x9', (8, 9))]
)
def test_windows_are_read(text, value):
    parser = argparse.ArgumentParser()
    predict.add_arguments(parser)
    assert parser.parse_args(['M', 'a.jpg', '--out', 'o', '--window', text]).window == value


@pytest.mark.parametrize('words', [['--window', '0'], ['--window', '8x'], ['--batch-size', '0']])
def test_wrong_numbers_are_refused(words, capsys):
    with pytest.raises(SystemExit):
        main(['predict', 'M', 'a.jpg', '--out', 'o', *words])
    assert 'expected' in capsys.readouterr().err


def test_models_are_compared_row_below_row(model, photos, tmp_path, capsys):
    out = tmp_path / 'out'
    words = ['predict', 'runs/lora.pth', str(photos), '--out', str(out), '--save', 'drawings']
    assert main([*words, '--compare', 'M', 'other/M', '--figures', 'svg', '--height', '40']) == 0
    drawn = (out / 'drawings/a.svg').read_text()
    assert all(f'<!-- {name} -->' in drawn for name in ('lora', 'M', 'M (2)', 'input', 'depth'))
    assert main([*words, '--compare', 'M', '--drawings', 'apart', '--force']) == 2
    assert 'Leave out --drawings apart' in capsys.readouterr().err
