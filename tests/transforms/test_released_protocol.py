"""Options that give what the released code of MTLoRA does, against that arithmetic."""

import cv2
import numpy as np
import pytest

from mtpeft.registry import TRANSFORMS
from mtpeft.tasks import build_tasks

TASKS = dict(semseg=dict(num_classes=9), human_parts=dict(), sal=dict(), edge=dict(),
             depth=dict(), normals=dict())  # fmt: skip


def build(**cfg):
    return TRANSFORMS.build(cfg)


def sample(height=30, width=41, seed=0):
    rng = np.random.default_rng(seed)
    normals = rng.normal(size=(height, width, 3)).astype(np.float32)
    return dict(
        img=rng.integers(0, 256, (height, width, 3), dtype=np.uint8),
        tasks=build_tasks(TASKS),
        labels=dict(
            semseg=rng.integers(1, 9, (height, width), dtype=np.uint8),
            human_parts=rng.integers(1, 7, (height, width), dtype=np.uint8),
            sal=np.ones((height, width), np.uint8),
            edge=np.ones((height, width), np.uint8),
            depth=rng.uniform(1, 9, (height, width)).astype(np.float32),
            normals=normals / np.linalg.norm(normals, axis=-1, keepdims=True),
        ),
    )


@pytest.mark.parametrize('size', [(48, 48), (14, 64), (90, 90), (30, 41)])
@pytest.mark.parametrize('nearest', ['centre', 'corner'])
def test_the_nearest_pixel_by_centre_or_corner(size, nearest):
    """Centres: that below the middle of the new pixel; corners: that below its upper left."""
    before = sample()
    half = 0.5 if nearest == 'centre' else 0.0
    rows, columns = (
        np.floor((np.arange(new) + half) * old / new).astype(int)
        for new, old in zip(size, before['img'].shape[:2], strict=True)
    )
    label = before['labels']['semseg']
    depth = before['labels']['depth']
    resize = build(type='MTResize', size=size, nearest=nearest,
                   label_interpolation=dict(depth='nearest'))  # fmt: skip
    after = resize(before)['labels']
    np.testing.assert_array_equal(after['semseg'], label[np.ix_(rows, columns)])
    np.testing.assert_array_equal(after['depth'], depth[np.ix_(rows, columns)])


def turned(**options):
    np.random.seed(0)
    cfg = dict(type='MTRandomScaleRotate', angles=(20, 20), scales=(0.75, 0.75), **options)
    return build(**cfg)(sample())


def test_outside_is_class_0_where_that_is_asked_for():
    ignored, zero = turned()['labels'], turned(outside='zero')['labels']
    outside = ignored['semseg'] == 255
    assert 0.2 < outside.mean() < 0.8
    for name in ('semseg', 'human_parts', 'sal', 'edge'):
        np.testing.assert_array_equal(ignored[name] == 255, outside)
        assert not zero[name][outside].any()
        np.testing.assert_array_equal(zero[name][~outside], ignored[name][~outside])
    # there is no depth or direction that nothing has
    for name in ('depth', 'normals'):
        np.testing.assert_array_equal(zero[name], ignored[name])
        assert (zero[name] == 0).any()


@pytest.mark.parametrize('scale', [1.0, 1.2, 1.4])
def test_nyud_zooms_about_the_centre(scale):
    """Every pixel is that of the enlarged picture, whose middle stays where it was."""
    before = sample(30, 40)
    y, x = np.mgrid[:30, :40]
    depth = before['labels']['depth'] = (1 + 0.02 * x + 0.03 * y).astype(np.float32)
    label = before['labels']['semseg']
    zoom = build(type='MTRandomScaleCrop', scales=(scale,), window='centre')
    seen = {zoom(sample(30, 40))['labels']['semseg'].tobytes() for _ in range(5)}
    assert len(seen) == 1
    after = zoom(before)['labels']
    rows, columns = (
        np.floor((np.arange(side) + (round(side * scale) - side) // 2 + 0.5) / scale).astype(int)
        for side in (30, 40)
    )
    np.testing.assert_array_equal(after['semseg'], label[np.ix_(rows, columns)])
    # the warp about the centre that the released code makes, but for half a pixel
    matrix = cv2.getRotationMatrix2D((19.5, 14.5), 0, scale)
    warped = cv2.warpAffine(depth, matrix, (40, 30), flags=cv2.INTER_LINEAR) / scale
    np.testing.assert_allclose(after['depth'], warped, atol=0.03)


def test_cubic_pictures_do_not_wrap():
    stripes = np.zeros((8, 8, 3), np.uint8)
    stripes[:, 4:] = 255
    for cfg in (dict(type='MTRandomScaleCrop', scales=(1.5,), window='centre'),
                dict(type='MTRandomScaleRotate', angles=(0, 0), scales=(1.3, 1.3))):  # fmt: skip
        by = {m: build(**cfg, interpolation=m)(dict(img=stripes.copy(), tasks={}, labels={}))['img']
              for m in ('linear', 'cubic')}  # fmt: skip
        assert (np.diff(by['cubic'][4, :, 0].astype(int)) >= 0).all()
        assert not np.array_equal(by['linear'], by['cubic'])


def test_a_label_whose_objects_left_the_frame_is_ignored():
    before = sample()
    before['labels']['human_parts'][:] = 0
    before['labels']['human_parts'][0, :3] = 255
    before['labels']['sal'][:] = 0
    after = build(type='MTIgnoreEmpty', tasks=['human_parts'])(before)['labels']
    assert (after['human_parts'] == 255).all()
    assert not after['sal'].any()  # not named
    kept = build(type='MTIgnoreEmpty')(sample())['labels']['human_parts']
    np.testing.assert_array_equal(kept, sample()['labels']['human_parts'])
    without = sample()
    del without['labels']['human_parts']
    assert 'human_parts' not in build(type='MTIgnoreEmpty')(without)['labels']


@pytest.mark.parametrize(('cfg', 'match'), [
    (dict(type='MTResize', size=4, nearest='corners'), "nearest='corners' is unknown.*corner"),
    (dict(type='MTRandomScaleRotate', outside='0'), "outside='0' is unknown"),
    (dict(type='MTRandomScaleRotate', interpolation='area'), "interpolation='area' is unknown"),
    (dict(type='MTRandomScaleCrop', window='center'), "window='center' is unknown.*centre"),
    (dict(type='MTIgnoreEmpty', tasks='human_parts'), r"\['human_parts'\], got 'human_parts'"),
    (dict(type='MTIgnoreEmpty', tasks=[]), 'names of tasks'),
])  # fmt: skip
def test_bad_options(cfg, match):
    with pytest.raises(ValueError, match=match):
        build(**cfg)


@pytest.mark.parametrize(('task', 'match'), [('part', 'does not have'), ('depth', 'has values')])
def test_tasks_that_cannot_be_empty(task, match):
    with pytest.raises(ValueError, match=match):
        build(type='MTIgnoreEmpty', tasks=[task])(sample())
