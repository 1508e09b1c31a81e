"""Labels from the cache are those from the files; whatever happens to either."""

import multiprocessing
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from mtpeft.cli import main
from mtpeft.datasets import DataFileError, PASCALContextMT
from mtpeft.datasets.label_cache import LabelCache

TASKS = dict(human_parts={}, edge={}, normals={}, semseg={})


def load(root, **kwargs):
    return PASCALContextMT(tasks=TASKS, data_root=str(root), serialize_data=False, **kwargs)


def labels_of(dataset):
    return [dataset[i]['labels'] for i in range(len(dataset))]


@pytest.fixture
def said(monkeypatch):
    texts = []
    monkeypatch.setattr(
        'mtpeft.datasets.label_cache.print_log', lambda text, **options: texts.append(text)
    )
    return texts


def assert_equal(one, other):
    for left, right in zip(one, other, strict=True):
        assert list(left) == list(right)
        for name, label in left.items():
            assert label.dtype == right[name].dtype
            np.testing.assert_array_equal(label, right[name])


@pytest.mark.parametrize('options', [{}, dict(edges='laplacian'), dict(normals_classes=[420])])
def test_the_labels_are_the_same_to_the_bit(pascal_root, tmp_path, options):
    (pascal_root / 'ImageSets' / 'Parts' / 'train.txt').unlink()  # the file says who has no parts
    plain = labels_of(load(pascal_root, **options))
    cache = tmp_path / 'cache'
    assert_equal(labels_of(load(pascal_root, cache_dir=cache, **options)), plain)
    kinds = {path.name for path in cache.iterdir()}
    more = {'context'} if 'normals_classes' in options else set()
    assert kinds == {'human_parts', f'edge-{options.get("edges", "borders")}'} | more
    assert {p.suffix for p in cache.rglob('*.*')} == {'.png', '.none'}
    again = load(pascal_root, cache_dir=str(cache), **options)
    for info in map(again.get_data_info, range(3)):  # what is there is not read from its source
        for name in ('human_parts', 'edge'):
            path = again.label_path(info, again.tasks[name])
            stat = path.stat()
            path.write_bytes(b'x' * stat.st_size)
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert_equal(labels_of(again), plain)


def test_a_source_that_changed_is_read_again(pascal_root, tmp_path, write):
    dataset = load(pascal_root, cache_dir=tmp_path / 'cache')
    assert dataset[0]['labels']['human_parts'][4, 2] == 2
    path = pascal_root / 'human_parts' / 'a.mat'
    body = write['box'](0, 12, 0, 16)
    write['parts'](path, [('person', 15, body, dict(head=body))])
    assert (dataset[0]['labels']['human_parts'] == 1).all()
    path.write_bytes(b'broken')
    with pytest.raises(DataFileError, match='a.mat'):
        dataset[0]
    path.unlink()
    with pytest.raises(FileNotFoundError, match='a.mat'):
        dataset[0]


@pytest.mark.parametrize('damage', [lambda b: b[: len(b) // 2], lambda b: b'', lambda b: b[:-1],
                                    lambda b: b[:40] + bytes([b[40] ^ 1]) + b[41:]])  # fmt: skip
def test_a_damaged_entry_is_named_and_made_again(pascal_root, tmp_path, damage, said):
    cache = tmp_path / 'cache'
    plain = labels_of(load(pascal_root))
    labels_of(load(pascal_root, cache_dir=cache))
    (entry,) = (cache / 'human_parts').glob('a-*.png')
    whole = entry.read_bytes()
    entry.write_bytes(damage(whole))
    assert_equal(labels_of(load(pascal_root, cache_dir=cache)), plain)
    assert len(said) == 1 and said[0].startswith(f'{entry}: damaged')
    assert entry.read_bytes() == whole


@pytest.mark.parametrize('kind', [np.float32, np.float64, np.int64, bool])
def test_numbers_that_are_no_png_keep_their_bits(tmp_path, kind):
    source = tmp_path / 'a.mat'
    source.write_text('x')
    array = (np.random.default_rng(0).normal(size=(5, 7, 2)) * 9).astype(kind)
    cache = LabelCache(tmp_path / 'cache')
    cache.get('k', 'a/b ä', source, lambda: array)
    assert cache.holds('k', 'a/b ä', source) and not cache.holds('k', 'c', source)
    found = LabelCache(tmp_path / 'cache').get('k', 'a/b ä', source, None)
    assert found.dtype == kind
    np.testing.assert_array_equal(found, array)


def test_several_processes_share_a_folder(pascal_root, tmp_path):
    plain = labels_of(load(pascal_root))
    dataset = load(pascal_root, cache_dir=tmp_path / 'cache')
    with multiprocessing.get_context('fork').Pool(3) as pool:
        for found in pool.map(labels_of, [dataset] * 6):
            assert_equal(found, plain)
    assert not list((tmp_path / 'cache').rglob('*.tmp'))


def test_a_disk_that_takes_nothing_stops_no_run(pascal_root, tmp_path, monkeypatch, said):
    def full(data, path):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('mtpeft.datasets.label_cache.write_atomically', full)
    dataset = load(pascal_root, cache_dir=tmp_path / 'cache')
    assert_equal(labels_of(dataset), labels_of(load(pascal_root)))
    assert len(said) == 1 and 'could not be kept' in said[0]
    (tmp_path / 'file').write_text('x')
    with pytest.raises(OSError, match='cache_dir=.*leave cache_dir out'):
        load(pascal_root, cache_dir=tmp_path / 'file')


@pytest.mark.parametrize('workers', ['0', '2'])
def test_the_command_fills_it(pascal_root, capsys, workers):
    shutil.copy(pascal_root / 'ImageSets/Parts/train.txt', pascal_root / 'ImageSets/Parts/val.txt')
    assert main(['data', 'cache', str(pascal_root), '--workers', workers]) == 0
    folder = pascal_root / 'label_cache'
    assert f'train_dataloader.dataset.cache_dir={folder}' in capsys.readouterr().out
    names = sorted(path.name[0] for path in (folder / 'human_parts').iterdir())
    assert names == ['a', 'c']  # b has no persons, which is known without its file
    assert len(list((folder / 'edge-borders').iterdir())) == 3
    # by a config, with the tasks it has
    config = ['mtlora-r64_swin-t_pascal', '--data-root', str(pascal_root)]
    assert main(['data', 'cache', *config, '--cache-dir', str(folder / 'other')]) == 0
    assert [path.name for path in (folder / 'other').iterdir()] == ['human_parts']
    (pascal_root / 'human_parts' / 'a.mat').write_bytes(b'broken')
    assert main(['data', 'cache', str(pascal_root)]) == 1
    assert 'a.mat' in capsys.readouterr().out


def test_where_nothing_is_slow_it_says_so(nyud_root, capsys):
    options = ['--data-root', str(nyud_root)]
    assert main(['data', 'cache', 'mtlora-r64_swin-t_nyud', *options]) == 0
    assert 'nothing is kept' in capsys.readouterr().out
    assert main(['data', 'cache', 'lora_swin-pico_scenes']) == 1
    assert 'no data set of files' in capsys.readouterr().out
    assert main(['data', 'cache', str(Path(nyud_root))]) == 1
    assert 'NYUDMT' in capsys.readouterr().out
