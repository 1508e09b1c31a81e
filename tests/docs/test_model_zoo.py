"""Metafiles and the model zoo say what the configs and the tables of the documentation say."""

import runpy

import pytest
import yaml
from helpers.markdown import ROOT
from mmengine.config import Config

ZOO = runpy.run_path(str(ROOT / 'docs' / 'write_model_zoo.py'))
TEXTS = ZOO['texts']()


@pytest.mark.parametrize('path', TEXTS)
def test_files_are_as_the_script_writes_them(path):
    text = (ROOT / path).read_text(encoding='utf-8')
    assert text == TEXTS[path], 'run python docs/write_model_zoo.py'


def test_every_config_is_in_one_metafile():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())['Import']
    models = [m for path in index for m in yaml.safe_load((ROOT / path).read_text())['Models']]
    leaves = {
        str(path.relative_to(ROOT))
        for path in (ROOT / 'configs').glob('*/*.py')
        if path.parent.name not in ('suites', 'pretrain', '_base_')
    }
    assert sorted(m['Config'] for m in models) == sorted(leaves)
    assert sum('Results' in m for m in models) > 50


@pytest.mark.parametrize(
    'path',
    ['mtlora/mtlora-r64_swin-t_pascal', 'vpt/vpt-deep_swin-pico_scenes', 'lora/lora_swin-t_nyud',
     'single_task/depth_efficientnet-lite2_nyud', 'faar/faar_convnext-t_pascal'],
)  # fmt: skip
def test_tasks_are_those_of_the_config(path):
    found = ZOO['entry'](*path.split('/'))
    assert set(Config.fromfile(ROOT / f'configs/{path}.py').tasks) == set(found.tasks)
