"""mtpeft demo, as it is typed: what is said before the page is there."""

import socket

import cv2
import numpy as np
import pytest
from models.tiny_models import tiny_model

from mtpeft.apis.demo import page
from mtpeft.cli import demo, main, model_argument


@pytest.fixture
def read(monkeypatch):
    names = []

    def read_model(args):
        names.append((args.model, args.checkpoint))
        return tiny_model(['depth']).eval()

    monkeypatch.setattr(model_argument, 'read_model', read_model)
    return names


def test_without_gradio_the_command_that_installs_it_is_named(monkeypatch, capsys):
    monkeypatch.setitem(__import__('sys').modules, 'gradio', None)
    assert main(['demo', 'mtpeft:faar_efficientnet-lite2_scenes']) == 2
    assert 'pip install "mtpeft[demo]"' in capsys.readouterr().err


def test_it_is_served_until_ctrl_c(read, monkeypatch, capsys):
    made = []

    class Demo:
        def __init__(self, models, examples):
            made.append(self)
            self.models, self.closed = models, False

        def start(self, host, port):
            return f'http://{host}:{port}/'

        def close(self):
            self.closed = True

    def stop():
        raise KeyboardInterrupt

    monkeypatch.setattr(page, 'Demo', Demo)
    monkeypatch.setattr(page, 'load_gradio', lambda: None)
    monkeypatch.setattr(demo, '_wait', stop)
    words = ['a/x.safetensors', 'b/x.safetensors', '--port', '8000']
    assert main(['demo', *words, '--host', '0.0.0.0']) == 0
    (served,) = made
    assert served.closed and list(served.models) == ['x', "x'"]
    assert all(predict.model.merged for predict in served.models.values())
    said = capsys.readouterr().out
    assert 'http://0.0.0.0:8000/' in said and 'Everybody who reaches 0.0.0.0' in said


def test_a_checkpoint_belongs_to_one_model(read, monkeypatch, capsys):
    monkeypatch.setattr(page, 'load_gradio', lambda: None)
    assert main(['demo', 'a.py', 'b.py', '--checkpoint', 'c.pth']) == 2
    assert '--checkpoint belongs to one MODEL' in capsys.readouterr().err


def test_a_port_that_is_taken_is_said(read, tmp_path, capsys):
    picture = tmp_path / 'a.png'
    cv2.imwrite(str(picture), np.zeros((8, 8, 3), np.uint8))
    pytest.importorskip('gradio', reason='pip install "mtpeft[demo]"')
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        words = ['a.safetensors', '--examples', str(picture)]
        assert main(['demo', *words, '--port', port]) == 2
    assert f'Port {port} of 127.0.0.1 cannot be listened on' in capsys.readouterr().err
