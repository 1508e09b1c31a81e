"""Exported scenes read back by the data sets of the real layouts."""

import json
from pathlib import Path

import numpy as np
import pytest

from mtpeft.cli import main
from mtpeft.datasets import NYUDMT, PASCALContextMT
from mtpeft.datasets.scenes import SceneSource, class_numbers, make_labels
from mtpeft.datasets.scenes.classes import CLASS_INDEX

SIZE = (40, 48)
COUNT = dict(train=4, val=3)


def export(folder: Path, layout: str, **options) -> int:
    arguments = dict(train=4, val=3, seed=2, **options)
    command = [str(folder), '--layout', layout, '--size', '40', '48']
    for name, value in arguments.items():
        command += [f'--{name}', str(value)]
    return main(['data', 'scenes', *command])


@pytest.fixture(scope='module')
def pascal(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('pascal') / 'PASCAL_MT'
    assert export(folder, 'pascal') == 0
    return folder


@pytest.fixture(scope='module')
def nyud(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('nyud') / 'NYUD_MT'
    assert export(folder, 'nyud') == 0
    return folder


def renderings(split: str) -> list:
    source = SceneSource(SIZE, seed=2 if split == 'train' else 3)
    return [source.render(i) for i in range(COUNT[split])]


def looks_alike(sample: dict, r) -> bool:
    error = np.abs(sample['img'][..., ::-1].astype(int) - r.image)
    return error.mean() < 4


@pytest.mark.parametrize('split', ['train', 'val'])
def test_pascal_round_trip(pascal, split):
    tasks = ['semseg', 'human_parts', 'sal', 'normals', 'edge']
    data = PASCALContextMT(tasks=tasks, split=split, data_root=str(pascal))
    assert len(data) == COUNT[split]
    people = 0
    for index, r in enumerate(renderings(split)):
        sample, want = data[index], make_labels(r)
        labels = sample['labels']
        assert looks_alike(sample, r)
        assert np.array_equal(labels['semseg'], want['semseg'])
        assert np.array_equal(labels['sal'], want['sal'])
        # Half a grey level of 2 / 255 in each axis, before the length is restored.
        assert np.abs(labels['normals'] - want['normals']).max() < 0.012
        kinds = r.scene_class.astype(int)
        edge = np.zeros(SIZE, bool)
        edge[:, :-1] |= np.diff(kinds, axis=1) != 0
        edge[:-1] |= np.diff(kinds, axis=0) != 0
        assert np.array_equal(labels['edge'], edge)
        # Class borders are borders of instances as well.
        assert (want['edge'][edge] == 1).all()
        assert ('human_parts' in labels) == bool(r.part.any())
        if 'human_parts' in labels:
            people += 1
            assert np.array_equal(labels['human_parts'], want['human_parts'])
    assert people > 0


def test_pascal_parts_are_found_without_the_list(pascal, tmp_path):
    for name in ('JPEGImages', 'human_parts'):
        (tmp_path / name).symlink_to(pascal / name)
    sets = tmp_path / 'ImageSets' / 'Context'
    sets.mkdir(parents=True)
    (sets / 'train.txt').write_text((pascal / 'ImageSets' / 'Context' / 'train.txt').read_text())
    data = PASCALContextMT(tasks=['human_parts'], data_root=str(tmp_path))
    for index, r in enumerate(renderings('train')):
        labels = data[index]['labels']
        assert ('human_parts' in labels) == bool(r.part.any())


def test_pascal_normals_of_some_classes(pascal):
    context = class_numbers('context')
    kept = [int(context[CLASS_INDEX[n]]) for n in ('wall', 'floor', 'chair')]
    data = PASCALContextMT(tasks=['normals'], data_root=str(pascal), normals_classes=kept)
    for index, r in enumerate(renderings('train')):
        valid = (data[index]['labels']['normals'] != 0).any(-1)
        assert np.array_equal(valid, np.isin(context[r.scene_class], kept))


def test_pascal_object_list_names_every_thing(pascal):
    found = json.loads((pascal / 'ImageSets' / 'Parts' / 'train.txt').read_text())
    for classes, r in zip(found.values(), renderings('train'), strict=True):
        numbers = class_numbers('pascal')[r.scene_class]
        pairs = set(zip(r.instance.ravel().tolist(), numbers.ravel().tolist(), strict=True))
        assert sorted(classes) == sorted(n for _, n in pairs if n)


@pytest.mark.parametrize('split', ['train', 'val'])
def test_nyud_round_trip(nyud, split):
    tasks = dict(semseg=dict(num_classes=40), depth={}, normals={}, edge={})
    data = NYUDMT(tasks=tasks, split=split, data_root=str(nyud))
    assert len(data) == COUNT[split]
    for index, r in enumerate(renderings(split)):
        sample, want = data[index], make_labels(r, 'nyud')
        assert looks_alike(sample, r)
        for name in ('semseg', 'depth', 'edge'):
            assert np.array_equal(sample['labels'][name], want[name]), name
        assert np.abs(sample['labels']['normals'] - want['normals']).max() < 1e-6


def test_a_stopped_export_goes_on(nyud, tmp_path):
    folder = tmp_path / 'NYUD_MT'
    assert export(folder, 'nyud') == 0
    files = {p: p.read_bytes() for p in folder.rglob('*') if p.is_file()}
    lost = [p for p in files if p.name.endswith('_000002.npy') or p.parent.name == 'gt_sets']
    assert len(lost) == 8
    before = {p: p.stat().st_mtime_ns for p in files if p not in lost}
    for path in lost:
        path.unlink()
    assert export(folder, 'nyud') == 0
    assert {p: p.read_bytes() for p in folder.rglob('*') if p.is_file()} == files
    assert {p: p.stat().st_mtime_ns for p in before} == before


@pytest.mark.parametrize('layout, options', [('pascal', {}), ('nyud', dict(supersample=2))])
def test_an_export_with_other_options_is_refused(nyud, capsys, layout, options):
    assert export(nyud, layout, **options) == 1
    assert 'other options' in capsys.readouterr().err


def test_a_folder_with_something_else_is_left_alone(tmp_path, capsys):
    (tmp_path / 'thesis.txt').write_text('draft')
    assert export(tmp_path, 'nyud') == 1
    assert 'not an export by this tool' in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ['thesis.txt']


def test_counts_below_one_are_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(['data', 'scenes', str(tmp_path), '--layout', 'nyud', '--train', '0'])
    assert 'expected a positive integer, got 0' in capsys.readouterr().err
