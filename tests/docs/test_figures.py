"""The parameter counts in the README are those of the configs."""

import re

import pytest
from helpers.markdown import ROOT
from mmengine.config import Config
from mmengine.registry import DefaultScope, init_default_scope

from mtpeft.models import parameter_components
from mtpeft.registry import MODELS

ROW = re.compile(r'^\| `(\S+\.py)`.*?\| (\d+\.\d+)M \|', re.MULTILINE)
ROWS = ROW.findall((ROOT / 'README.md').read_text(encoding='utf-8'))


@pytest.mark.parametrize(('pattern', 'millions'), ROWS, ids=[row[0] for row in ROWS])
def test_parameter_counts(pattern, millions):
    total = 0
    for path in sorted((ROOT / 'configs').glob(pattern)):
        cfg = Config.fromfile(path)
        init_default_scope(cfg.default_scope)
        total += sum(parameter_components(MODELS.build(cfg.model)).values())
    DefaultScope._instance_dict.clear()
    assert f'{total / 1e6:.3f}' == millions


def test_the_table_was_found():
    assert len(ROWS) == 9
