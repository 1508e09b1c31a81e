"""Baselines from configs and files, and what is refused."""

import json

import pytest

from mtpeft.evaluation import MultiTaskEvaluator, resolve_baselines
from mtpeft.tasks import build_tasks

TASKS = build_tasks(['semseg', 'depth'])
GOOD = dict(semseg=67.0, depth=0.6)
RESOLVED = dict(semseg=dict(mIoU=67.0), depth=dict(rmse=0.6))


def test_a_number_is_the_headline():
    assert resolve_baselines(GOOD, TASKS) == RESOLVED
    more = dict(semseg=67, depth=dict(rmse=0.6, delta1=80))
    assert resolve_baselines(more, TASKS)['depth'] == dict(rmse=0.6, delta1=80.0)


def test_one_file_serves_configs_with_fewer_tasks(tmp_path):
    path = tmp_path / 'baselines.json'
    path.write_text(json.dumps(dict(baselines=dict(GOOD, normals=18.0))))
    assert resolve_baselines(str(path), TASKS) == RESOLVED
    assert MultiTaskEvaluator(tasks=['depth'], baselines=path).baselines == dict(
        depth=dict(rmse=0.6)
    )


@pytest.mark.parametrize(
    'baselines, error, match',
    [
        (dict(semseg=67), ValueError, "no baseline for 'depth'.*rmse"),
        ({}, ValueError, "no baseline for 'semseg', 'depth'"),
        (dict(GOOD, dept=1), ValueError, "unknown task 'dept'. Did you mean 'depth'"),
        (dict(GOOD, normals=18), ValueError, "unknown task 'normals'"),
        (dict(GOOD, depth=0), ValueError, "'depth' is 0"),
        (dict(GOOD, depth=float('nan')), ValueError, 'finite'),
        (dict(GOOD, depth='.6'), TypeError, 'number'),
        (dict(GOOD, depth=dict(abs_rel=0.1)), ValueError, "headline metric 'rmse'"),
        (dict(GOOD, depth=dict(rmes=0.1)), ValueError, "Did you mean 'rmse'"),
        ('/nowhere/baselines.json', FileNotFoundError, "'/nowhere/baselines.json'"),
    ],
)
def test_refused_when_the_evaluator_is_built(baselines, error, match):
    with pytest.raises(error, match=match):
        MultiTaskEvaluator(tasks=['semseg', 'depth'], baselines=baselines)


def test_a_misspelt_name_in_a_file_is_refused(tmp_path):
    path = tmp_path / 'baselines.json'
    path.write_text(json.dumps(dict(baselines=dict(GOOD, nromals=18))))
    with pytest.raises(ValueError, match=f"{path}.*unknown task 'nromals'"):
        resolve_baselines(path, TASKS)
    path.write_text(json.dumps(GOOD))
    with pytest.raises(ValueError, match="a dict 'baselines'"):
        resolve_baselines(path, TASKS)


@pytest.mark.parametrize(
    ('name', 'text'),
    [
        ('b.yaml', 'baselines: !!python/object/apply:builtins.open ["{mark}", "w"]'),
        ('b.py', 'open({mark!r}, "w")\nbaselines = dict(semseg=1.0, depth=1.0)'),
        ('b.json', '{{"custom_imports": {{"imports": ["evil"]}}, "semseg": 1.0}}'),
        ('c.json', '{{"_base_": "{folder}/b.py", "semseg": 1.0}}'),
        ('deep.json', '[' * 100_000),
        ('list.json', '[1, 2]'),
    ],
)
def test_a_file_is_read_as_json_and_runs_nothing(tmp_path, monkeypatch, name, text):
    mark = tmp_path / 'ran'
    (tmp_path / 'b.py').write_text(f'open({str(mark)!r}, "w")\nbaselines = dict()')
    (tmp_path / 'evil.py').write_text(f'open({str(mark)!r}, "w")')
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / name
    path.write_text(text.format(mark=mark, folder=tmp_path) if '{' in text else text)
    with pytest.raises(ValueError, match=f"baselines file '{path}'.*(JSON|dict 'baselines')"):
        resolve_baselines(path, TASKS)
    assert not mark.exists()
