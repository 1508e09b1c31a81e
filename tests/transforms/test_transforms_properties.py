"""What must hold for every transform: nothing invalid mixes in, nothing wraps, shapes agree."""

import cv2
import numpy as np
import pytest
from helpers.engine import ROOT
from mmengine.config import Config

from mtpeft.registry import TRANSFORMS
from mtpeft.tasks import build_tasks
from mtpeft.transforms import (
    MTPad,
    MTPhotometricDistortion,
    MTRandomCrop,
    MTRandomScaleRotate,
    MTResize,
    PackMultiTaskInputs,
)

GEOMETRIC = [
    dict(type='MTRandomFlip'),
    dict(type='MTRandomScaleRotate'),
    dict(type='MTRandomScaleCrop'),
    dict(type='MTRandomCrop', size=(20, 24)),
    dict(type='MTResize', size=(23, 61)),
    dict(type='MTResize', size=(77, 83)),
    dict(type='MTPad', size=(50, 60)),
]


@pytest.fixture
def speckled():
    """Labels of one value each, with a third of the pixels invalid, in blocks and alone."""
    rng = np.random.default_rng(0)
    hole = rng.random((40, 48)) < 0.2
    hole[10:20, 5:30] = True
    tasks = build_tasks(
        dict(semseg=dict(num_classes=5), edge=dict(), depth=dict(), normals=dict(hflip='keep'))
    )
    normals = np.where(hole[..., None], 0, (0.36, 0.48, -0.8)).astype(np.float32)
    return dict(
        img=rng.integers(0, 256, (40, 48, 3), dtype=np.uint8), tasks=tasks, img_path='x',
        labels=dict(
            semseg=np.where(hole, 255, 3).astype(np.uint8),
            edge=np.where(hole, 255, 1).astype(np.uint8),
            depth=np.where(hole, 0, 6).astype(np.float32), normals=normals,
        ),
    )  # fmt: skip


@pytest.mark.parametrize('cfg', GEOMETRIC, ids=lambda c: c['type'])
@pytest.mark.parametrize('seed', range(3))
def test_invalid_pixels_never_mix(speckled, cfg, seed):
    np.random.seed(seed)
    results = TRANSFORMS.build(cfg)(speckled)
    labels, size = results['labels'], results['img'].shape[:2]
    assert results['img_shape'] == size if 'img_shape' in results else True
    assert {label.shape[:2] for label in labels.values()} == {size}
    assert set(np.unique(labels['semseg'])) == {3, 255}
    assert set(np.unique(labels['edge'])) == {1, 255}
    valid = labels['depth'] != 0
    assert 0.05 < valid.mean() < 0.95
    kept = labels['depth'][valid]
    np.testing.assert_allclose(kept, kept[0], rtol=1e-4)  # one value: all 6 / scale
    assert 6 / 1.51 < kept[0] < 6 / 0.74
    known = labels['normals'].any(-1)
    np.testing.assert_array_equal(known, valid)
    np.testing.assert_allclose(np.linalg.norm(labels['normals'][known], axis=-1), 1, atol=1e-4)
    np.testing.assert_allclose(labels['normals'][known][:, 2], -0.8, atol=1e-3)
    assert labels['depth'].dtype == labels['normals'].dtype == np.float32


def test_linear_values_stay_within_their_neighbours():
    task = build_tasks(['depth'])
    depth = np.tile(np.array([0, 2, 4, 0, 0, 0, 8, 8], np.float32), (8, 1))
    results = dict(img=np.zeros((8, 8, 3), np.uint8), tasks=task, labels=dict(depth=depth))
    wide = MTResize(size=(8, 64))(results)['labels']['depth'][0]
    assert set(wide[:8]) <= {0.0, 2.0} and set(wide[48:]) <= {0.0, 8.0}
    middle = wide[8:24][wide[8:24] > 0]
    assert middle.min() >= 2 and middle.max() <= 4 and (np.diff(middle) >= 0).all()
    assert (wide[30:46] == 0).all()


def two_surfaces():
    """A step in depth between two invalid columns, and normals that change at the same place."""
    depth = np.tile(np.repeat(np.array([0, 2, 4, 0], np.float32), 6), (24, 1))
    normals = np.zeros((24, 24, 3), np.float32)
    normals[:, :12, 0] = normals[:, 12:, 2] = 1
    labels = dict(depth=depth, normals=normals)
    return dict(
        img=np.zeros((24, 24, 3), np.uint8), img_path='x', tasks=build_tasks(list(labels)),
        labels=labels,
    )  # fmt: skip


@pytest.mark.parametrize('size', [(24, 32), (12, 40)])
def test_a_label_can_be_resized_otherwise_than_its_task_says(size):
    """Nearest: at the middle of each new pixel stands the label of the old one that it is in."""
    nearest = MTResize(size, label_interpolation=dict(depth='nearest'))(two_surfaces())['labels']
    linear = MTResize(size)(two_surfaces())['labels']
    columns = ((np.arange(size[1]) + 0.5) * 24 / size[1]).astype(int)
    np.testing.assert_array_equal(
        nearest['depth'], np.tile(two_surfaces()['labels']['depth'][0, columns], (size[0], 1))
    )
    assert set(np.unique(linear['depth'])) > {0, 2, 4}
    np.testing.assert_array_equal(nearest['normals'], linear['normals'])


@pytest.mark.parametrize('name', ['nyud_mt', 'nyud_mt_small'])
def test_depth_of_nyud_is_judged_at_measured_labels(name):
    """Between two surfaces a network that blurs would be right at linear labels."""
    data = Config.fromfile(ROOT / f'configs/_base_/datasets/{name}.py')
    pipeline = data.test_pipeline
    results = two_surfaces()
    for cfg in pipeline:
        # another size than that of the labels, small enough to see
        more = dict(size=(35, 35)) if cfg.type == 'MTResize' else {}
        results = TRANSFORMS.build({**cfg, **more})(results)
    gt = results['data_samples'].gt
    assert set(gt['depth'].unique().tolist()) == {0, 2, 4}
    assert 0 < (gt['normals'][0] % 1 > 0).sum()
    assert data.val_dataloader.dataset.pipeline == data.test_dataloader.dataset.pipeline == pipeline


def test_outside_is_constant_in_the_picture_and_ignored_in_labels(speckled):
    rotate = MTRandomScaleRotate(angles=(0, 0), scales=(0.5, 0.5), img_fill=(1, 2, 3))
    results = rotate(speckled)
    assert results['img'][0, 0].tolist() == [1, 2, 3]
    for name, value in dict(semseg=255, edge=255, depth=0).items():
        assert results['labels'][name][0, 0] == value
    assert not results['labels']['normals'][0, 0].any()


def test_pad_keeps_the_content_and_reaches_the_size(speckled):
    before = {k: v.copy() for k, v in speckled['labels'].items()}
    results = MTPad(size=(41, 10), divisor=16, img_fill=7)(speckled)
    assert results['img'].shape == (48, 48, 3) and (results['img'][40:] == 7).all()
    for name, label in results['labels'].items():
        np.testing.assert_array_equal(label[:40], before[name])
        assert (label[40:] == results['tasks'][name].ignore_value).all()


def test_crop_takes_one_window_from_all(speckled):
    position = np.arange(40 * 48, dtype=np.float32).reshape(40, 48) + 1
    speckled['labels']['depth'] = position
    speckled['img'][..., 0] = (position - 1).astype(np.int64) % 251
    results = MTRandomCrop(size=(16, 100))(speckled)
    assert results['img'].shape == (16, 48, 3)
    numbers = results['labels']['depth'].astype(int) - 1
    np.testing.assert_array_equal(results['img'][..., 0], numbers % 251)
    np.testing.assert_array_equal(np.diff(numbers, axis=1), 1)


@pytest.mark.parametrize('mode', ['linear', 'cubic', 'area'])
@pytest.mark.parametrize('size', [(100, 131), (31, 17)])
def test_saturated_stripes_do_not_wrap_when_resized(mode, size):
    img = np.zeros((48, 64, 3), np.uint8)
    img[:, (np.arange(64) // 4) % 2 == 0] = 255
    results = dict(img=img, tasks={}, labels={})
    out = MTResize(size=size, interpolation=mode)(results)['img'].astype(float)
    flag = dict(linear=cv2.INTER_LINEAR, cubic=cv2.INTER_CUBIC, area=cv2.INTER_AREA)[mode]
    exact = cv2.resize(img.astype(np.float64), size[::-1], interpolation=flag)
    assert mode != 'cubic' or exact.min() < -1 or exact.max() > 256  # it does overshoot
    assert np.abs(out - np.clip(exact, 0, 255)).max() < 2


def test_bright_picture_only_gets_brighter_to_the_limit():
    img = np.full((8, 8, 3), 250, np.uint8)
    distort = MTPhotometricDistortion(brightness=40, contrast=(1, 1), saturation=(1, 1), hue=0)
    values = set()
    for seed in range(30):
        np.random.seed(seed)
        values |= set(np.unique(distort(dict(img=img, tasks={}, labels={}))['img']).tolist())
    assert min(values) >= 209 and max(values) == 255 and len(values) > 5


def test_photometric_distortion_leaves_labels_alone(speckled):
    before = {k: v.copy() for k, v in speckled['labels'].items()}
    img = speckled['img'].copy()
    np.random.seed(1)
    results = MTPhotometricDistortion()(speckled)
    assert results['img'].dtype == np.uint8 and (results['img'] != img).any()
    for name, label in before.items():
        np.testing.assert_array_equal(results['labels'][name], label)


def test_a_task_with_many_channels_moves_like_any_other():
    tasks = build_tasks([dict(
        type='DenseTask', name='codes', kind='values', channels=7, loss={}, metric={},
        headline='', lower_is_better=True,
    )])  # fmt: skip
    codes = np.random.default_rng(0).random((20, 24, 7)).astype(np.float32) + 1
    make = lambda: dict(img=np.zeros((20, 24, 3), np.uint8), tasks=tasks, labels=dict(codes=codes))  # noqa: E731
    for transform in (MTResize(size=(31, 33)), MTRandomScaleRotate((15, 15), (1, 1))):
        moved = transform(make())['labels']['codes']
        one = build_tasks(dict(depth=dict(scaling='keep')))
        for channel in range(7):
            single = dict(depth=np.ascontiguousarray(codes[..., channel]))
            alone = transform({**make(), 'tasks': one, 'labels': single})['labels']['depth']
            np.testing.assert_allclose(moved[..., channel], alone, rtol=1e-5)


def test_pack_gives_tensors_and_meta(sample):
    results = sample(8, 10)
    del results['labels']['sal']
    packed = PackMultiTaskInputs()(results)
    data = packed['data_samples']
    assert packed['inputs'].shape == (3, 8, 10) and str(packed['inputs'].dtype) == 'torch.uint8'
    assert set(data.gt) == {'semseg', 'human_parts', 'edge', 'depth', 'normals'}
    assert data.gt['semseg'].shape == (1, 8, 10) and str(data.gt['edge'].dtype) == 'torch.int64'
    assert data.gt['normals'].shape == (3, 8, 10)
    np.testing.assert_array_equal(
        data.gt['normals'].numpy().transpose(1, 2, 0), results['labels']['normals']
    )
    assert data.label_shape == (8, 10) and data.ori_shape == (8, 10) and data.img_id == 'scene'


def test_pack_refuses_a_normalised_picture_and_unequal_labels(sample):
    results = sample(8, 10)
    with pytest.raises(ValueError, match='uint8.*preprocessor'):
        PackMultiTaskInputs()({**results, 'img': results['img'].astype(np.float32)})
    results['labels']['depth'] = results['labels']['depth'][:4]
    with pytest.raises(ValueError, match='differ in size'):
        PackMultiTaskInputs()(results)


@pytest.mark.parametrize(
    'cfg, message',
    [
        (dict(type='MTRandomFlip', prob=2), 'between 0 and 1'),
        (dict(type='MTRandomFlip', probability=1), "Did you mean 'prob'"),
        (dict(type='MTRandomFlop'), "Did you mean 'MTRandomFlip'"),
        (dict(type='MTResize', size=(4, -1)), 'positive integer'),
        (dict(type='MTResize', size=4, interpolation='cubik'), "Did you mean 'cubic'"),
        (dict(type='MTResize', size=4, label_interpolation=dict(depth='near')), "'nearest'"),
        (dict(type='MTPad'), 'size or divisor'),
        (dict(type='MTRandomScaleCrop', scales=(0.5,)), 'at least 1'),
        (dict(type='MTRandomScaleRotate', scales=(0, 1)), 'positive scales'),
        (dict(type='MTRandomScaleRotate', angles=(20, -20)), 'low, high'),
        (dict(type='MTPhotometricDistortion', hue=-1), 'hue'),
    ],
)
def test_bad_options_are_named(cfg, message):
    with pytest.raises((ValueError, TypeError, KeyError), match=message):
        TRANSFORMS.build(cfg)
