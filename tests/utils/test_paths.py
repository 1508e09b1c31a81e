import http.server
import threading

import numpy as np
import pytest
from models.tiny_models import tiny_model

from mtpeft.apis import MultiTaskInferencer
from mtpeft.datasets.layout import read_split
from mtpeft.utils.paths import local_path, stays_inside, without_folders


@pytest.mark.parametrize(
    'address', ['http://host/a.png', 'https://h/a', 's3://bucket/a.png', 'file:///etc/passwd']
)
def test_an_address_is_no_path(address):
    with pytest.raises(ValueError, match=f"'{address}' is an address"):
        local_path(address)


@pytest.mark.parametrize('path', ['a.png', '/data/a.png', 'C:\\data\\a.png', 'room:1.png', '~/a'])
def test_paths_of_this_machine_are_paths(path):
    assert local_path(path) == path


def test_an_inferencer_fetches_nothing():
    hits = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            hits.append(self.path)
            self.send_error(404)

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        predict = MultiTaskInferencer(tiny_model().eval())
        with pytest.raises(ValueError, match='is an address, expected the path of a local file'):
            predict(f'http://127.0.0.1:{server.server_port}/inside.png')
    finally:
        server.shutdown()
    assert not hits
    assert predict(np.zeros((32, 32, 3), np.uint8))


@pytest.mark.parametrize('name', ['../../x', '/etc/passwd', 'rooms/../../x'])
def test_ids_stay_inside_the_data(tmp_path, name):
    assert not stays_inside(name) and stays_inside('rooms/x')
    (tmp_path / 'train.txt').write_text(f'good\n{name}\n')
    with pytest.raises(ValueError, match=f"train.txt: '{name}' leads out of the data"):
        read_split(tmp_path / 'train.txt')


def test_a_text_keeps_the_names_of_files_and_all_else():
    text = """a = dict(root='/home/me/rooms', b=["~/x.pth", '/', 'C:\\\\me\\\\y.pth', r'a/b', 'https://h/z'])
b = 'file:///srv/q.pth'  # '/kept'
"""
    found = without_folders(text)
    before, after = {}, {}
    exec(text, before), exec(found, after)
    assert after['a'] == dict(root='rooms', b=['x.pth', '/', 'y.pth', 'a/b', 'https://h/z'])
    assert after['b'] == 'q.pth' and found.endswith("# '/kept'\n")
    assert without_folders("a = '/home/me") == ''
