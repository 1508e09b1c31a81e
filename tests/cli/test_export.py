"""``mtpeft export``."""

import argparse

import pytest
import torch
from export.exported import SIZE, noise
from models.tiny_models import tiny_model
from PIL import Image

from mtpeft.cli import export


def run(monkeypatch, model, *words):
    """The command on a model that is read in the place of MODEL."""
    monkeypatch.setattr('mtpeft.cli.model_argument.read_model', lambda args: model)
    parser = argparse.ArgumentParser()
    export.add_arguments(parser)
    return export.run(parser.parse_args(['MODEL', *map(str, words)]))


@pytest.fixture
def model():
    model = tiny_model(tasks=dict(semseg=dict(num_classes=5), sal=dict())).eval()
    model.img_size = SIZE
    return model


def test_it_writes_compares_and_says_so(model, tmp_path, monkeypatch, capsys):
    target = tmp_path / 'model.pt2'
    assert not run(monkeypatch, model, target)
    printed = capsys.readouterr().out
    assert target.is_file() and f'{target.stat().st_size:,} bytes' in printed
    assert f'pictures of {SIZE[0]} x {SIZE[1]}' in printed and 'outputs: semseg, sal' in printed
    assert 'compared on 2 pictures (rendered)' in printed
    assert '  sal: ' in printed and 'of the range at most' in printed
    assert 'ms for a picture, PyTorch' in printed


def test_on_pictures_of_the_user_for_some_tasks(model, tmp_path, monkeypatch, capsys):
    Image.fromarray(noise(1, (50, 70))[0]).save(tmp_path / 'one.png')
    words = (tmp_path / 'a.pt2', '--tasks', 'sal', '--size', 40, 56, '--raw')
    assert not run(monkeypatch, model, *words, '--check', tmp_path / 'one.png')
    printed = capsys.readouterr().out
    assert 'compared on 1 picture (of --check)' in printed and 'semseg' not in printed
    program = torch.export.load(tmp_path / 'a.pt2').module()
    assert program(torch.zeros(1, 3, 40, 56))['sal'].shape == (1, 1, 40, 56)


def test_a_file_that_gives_something_else_ends_with_1(model, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        'mtpeft.export.runtimes.runner_of',
        lambda path: lambda x: {n: torch.zeros(len(x), *SIZE).numpy() for n in ('semseg', 'sal')},
    )
    assert run(monkeypatch, model, tmp_path / 'a.pt2') == 1
    assert 'do not use it' in capsys.readouterr().out


@pytest.mark.parametrize(
    'words, message',
    [
        (['a.pth'], '.onnx or .pt2'),
        (['there.pt2'], 'Give another name, or --force'),
        (['a.pt2', '--tasks', 'semsge'], "Did you mean 'semseg'"),
        (['a.pt2', '--check', 'nowhere.png', '--size', '32', '32'], 'nowhere.png'),
    ],
)
def test_words(words, message, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'there.pt2').write_bytes(b'')
    with pytest.raises(SystemExit, match=message):
        run(monkeypatch, model, *words)
