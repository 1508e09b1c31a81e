"""The service of docs/export.md, as it stands there, on a file and without mtpeft."""

import http.client
import http.server
import io
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from export.exported import SIZE, noise
from helpers.markdown import ROOT, blocks
from models.tiny_models import tiny_model
from PIL import Image

from mtpeft.export import export_model

pytest.importorskip('onnxscript', reason='pip install "mtpeft[export]"')
pytest.importorskip('onnxruntime', reason='pip install "mtpeft[export]"')

ALONE = """
import sys

class Refused:
    def find_spec(self, name, *_):
        if name.split('.')[0] in ('mtpeft', 'torch', 'mmengine'):
            raise ImportError(name)

sys.meta_path.insert(0, Refused())
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])
np.savez(sys.argv[3], **dict(zip(
    [o.name for o in session.get_outputs()], session.run(None, {'pictures': np.load(sys.argv[2])})
)))
"""


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    model = tiny_model(tasks=dict(semseg=dict(num_classes=5), depth=dict())).eval()
    return export_model(model, tmp_path_factory.mktemp('service') / 'model.onnx', SIZE)


def wanted(exported, pictures):
    with torch.no_grad():
        return exported.module(torch.from_numpy(pictures))


def test_the_service_of_the_page(exported, monkeypatch):
    (page,) = [b for b in blocks(ROOT / 'docs/export.md', 'python') if 'HTTPServer' in b.code]
    assert len([line for line in page.code.splitlines() if line.strip()]) <= 27
    monkeypatch.setattr(sys, 'argv', ['service.py', str(exported.path)])
    namespace = {'__name__': 'service'}
    exec(page.code, namespace)
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), namespace['Service'])
    monkeypatch.setattr(namespace['Service'], 'log_message', lambda *_: None)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        picture, body = noise(1)[0], io.BytesIO()
        Image.fromarray(picture).save(body, 'PNG')
        connection = http.client.HTTPConnection(*server.server_address)
        connection.request('POST', '/', body.getvalue())
        answer = connection.getresponse()
        assert answer.status == 200
        found = np.asarray(Image.open(io.BytesIO(answer.read())))
    finally:
        server.shutdown()
        server.server_close()
    np.testing.assert_array_equal(found, wanted(exported, picture[None])['semseg'][0])


def test_a_file_runs_where_there_is_no_mtpeft_and_no_torch(exported, tmp_path):
    pictures = noise(2)
    np.save(tmp_path / 'in.npy', pictures)
    command = [
        sys.executable,
        '-c',
        ALONE,
        exported.path,
        tmp_path / 'in.npy',
        tmp_path / 'out.npz',
    ]
    subprocess.run(command, check=True, timeout=120)
    found = np.load(tmp_path / 'out.npz')
    for name, maps in wanted(exported, pictures).items():
        np.testing.assert_allclose(found[name], maps, rtol=1e-4, atol=1e-4)
