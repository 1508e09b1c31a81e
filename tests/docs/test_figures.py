"""Tables of the documentation say what the code says."""

import re

import pytest
from helpers.markdown import ROOT
from mmengine.config import Config
from mmengine.registry import DefaultScope, init_default_scope

from mtpeft.models import parameter_components
from mtpeft.models.backbones import FAMILIES
from mtpeft.registry import MODELS

ROW = re.compile(r'^\| `(\S+\.py)`.*?\| (\d+\.\d+)M \|', re.MULTILINE)
ROWS = ROW.findall((ROOT / 'docs' / 'parameters.md').read_text(encoding='utf-8'))


@pytest.mark.usefixtures('structure_only')
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
    text = (ROOT / 'docs' / 'parameters.md').read_text(encoding='utf-8')
    table = text[text.index('| config | trainable |') :].split('\n\n')[0].splitlines()[2:]
    assert len(ROWS) == len(table) > 1


def test_the_table_of_families():
    text = (ROOT / 'docs' / 'concepts.md').read_text(encoding='utf-8')
    table = text[text.index('| family |') :].split('\n\n')[0].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in table]
    found = {name: (roles.split(), groups.split()) for name, roles, groups in rows}
    quoted = [
        (f.name, *([f'`{n}`' for n in names] for names in (f.roles, f.groups))) for f in FAMILIES
    ]
    assert found == {name: (roles, groups) for name, roles, groups in quoted}
