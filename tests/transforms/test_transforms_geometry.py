"""Each transform's labels against the same scene seen by the moved camera."""

import cv2
import numpy as np
import pytest

from mtpeft.tasks import DenseTask, build_tasks
from mtpeft.transforms import MTRandomFlip, MTRandomScaleCrop, MTRandomScaleRotate, MTResize

NEAREST = ('semseg', 'human_parts', 'sal', 'edge')


def near_border(classes, distance=1):
    """Pixels whose neighbourhood has several classes."""
    window = np.ones((2 * distance + 1,) * 2)
    return cv2.dilate(classes, window) != cv2.erode(classes, window)


def compare(labels, expected, inside, depth_tolerance=0.02):
    """Compare all six tasks: classes up to one pixel at borders, values inside surfaces."""
    surface = expected['semseg']
    for name in NEAREST:
        away = inside & ~near_border(expected[name])
        for value in np.unique(expected[name][inside]):  # every class that is more than a sliver
            seen = expected[name] == value
            assert (away & seen).any() or (inside & seen).mean() < 0.01, (name, value)
        np.testing.assert_array_equal(labels[name][away], expected[name][away], err_msg=name)
    core = inside & ~near_border(surface, 3)
    assert core.mean() > 0.15
    depth = np.abs(labels['depth'] / expected['depth'] - 1)[core]
    assert depth.max() < depth_tolerance
    lengths = np.linalg.norm(labels['normals'], axis=-1)[core]
    np.testing.assert_allclose(lengths, 1, atol=1e-4)
    cosine = (labels['normals'] * expected['normals']).sum(-1)[core]
    assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).max() < 3
    flat = core & (surface < 4)  # planes have one normal: no interpolation error to allow for
    np.testing.assert_allclose(labels['normals'][flat], expected['normals'][flat], atol=2e-3)


def test_flip_is_the_mirrored_scene_exactly(sample, scene):
    results = MTRandomFlip(prob=1.0)(sample())
    expected = scene(motion=np.diag([-1.0, 1, 1])).image(72, 96)
    for name, label in expected.items():
        if name in NEAREST:
            np.testing.assert_array_equal(results['labels'][name], label)
        else:
            np.testing.assert_allclose(results['labels'][name], label, atol=1e-4)
    np.testing.assert_array_equal(results['img'][..., 0], expected['semseg'] * 50)
    assert results['flip'] is True


def test_flip_with_probability_zero_changes_nothing(sample):
    before, after = sample(), MTRandomFlip(prob=0.0)(sample())
    for name, label in before['labels'].items():
        np.testing.assert_array_equal(after['labels'][name], label)
    assert after['flip'] is False


@pytest.mark.parametrize('angle', [-20.0, 13.0, 90.0])
def test_rotation_is_the_camera_rolled(sample, scene, angle):
    results = MTRandomScaleRotate(angles=(angle, angle), scales=(1, 1))(sample(96, 96))
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    # counter-clockwise for the viewer; y points down
    expected = scene(motion=np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])).image(96, 96)
    y, x = np.mgrid[:96, :96] - 47.5
    inside = np.maximum(abs(c * x - s * y), abs(s * x + c * y)) < 46
    compare(results['labels'], expected, inside)


@pytest.mark.parametrize('scale', [0.75, 1.25])
def test_scale_is_a_longer_lens_with_depth_divided(sample, scene, scale):
    results = MTRandomScaleRotate(angles=(0, 0), scales=(scale, scale))(sample(96, 96))
    expected = scene(focal=60 * scale).image(96, 96)
    expected['depth'] = expected['depth'] / scale
    y, x = np.mgrid[:96, :96] - 47.5
    compare(results['labels'], expected, np.maximum(abs(x), abs(y)) < 46 * scale)


def test_scaled_frontal_wall_is_the_same_wall_nearer(sample, scene):
    """Not another lens: the same camera and a wall at depth / s show the same picture."""
    wall = lambda distance: (((0.0, 0.0, -1.0), distance),)  # noqa: E731
    hidden = dict(centre=(0.0, 0.0, 9.0))
    far = sample(planes=wall(6.0), **hidden)
    near = scene(planes=wall(4.0), **hidden).image(72, 96)
    results = MTRandomScaleRotate(angles=(0, 0), scales=(1.5, 1.5))(far)
    np.testing.assert_allclose(results['labels']['depth'], near['depth'], rtol=1e-5)
    np.testing.assert_allclose(results['labels']['normals'], near['normals'], atol=1e-5)


@pytest.mark.parametrize('seed', range(4))
@pytest.mark.parametrize('scale', [1.0, 1.2, 1.5])
def test_scale_crop_is_a_window_of_a_longer_lens(sample, scene, scale, seed):
    results = sample()
    # one more task carries each pixel's old position, which tells where the window lies
    place = DenseTask(
        name='place', kind='values', channels=2, loss={}, metric={}, headline='', ignore_value=-1,
        lower_is_better=True,
    )  # fmt: skip
    y, x = np.mgrid[:72, :96].astype(np.float32)
    results['tasks'] = {**results['tasks'], 'place': place}
    results['labels']['place'] = np.stack([x, y], -1)
    np.random.seed(seed)
    labels = MTRandomScaleCrop(scales=(scale,))(results)['labels']
    middle = labels['place'][36, 48]
    left, top = (round(float(v + 0.5) * scale - 0.5) - o for v, o in zip(middle, (48, 36)))  # noqa: B905
    assert 0 <= left <= round(96 * scale) - 96 and 0 <= top <= round(72 * scale) - 72
    height, width = round(72 * scale), round(96 * scale)
    axis = ((width - 1) / 2 - left, (height - 1) / 2 - top)
    expected = scene(focal=60 * scale).at(x.astype(float), y.astype(float), axis)
    expected['depth'] = expected['depth'] / scale
    # a border just outside the window is not seen from here: leave a margin
    compare(labels, expected, (np.minimum(x, 95 - x) > 2) & (np.minimum(y, 71 - y) > 2))
    assert results['img'].shape == (72, 96, 3)


@pytest.mark.parametrize('size', [(36, 48), (144, 192), (90, 120)])
def test_resize_is_more_or_fewer_pixels_of_the_same_scene(sample, scene, size):
    results = MTResize(size=size)(sample())
    expected = scene(focal=60 * size[0] / 72).image(*size)  # the same metric depth
    compare(results['labels'], expected, np.ones(size, bool), depth_tolerance=0.04)
    assert results['img_shape'] == size


def test_resize_keeps_the_ratio_and_can_leave_labels(sample):
    results = MTResize(size=(64, 64), keep_ratio=True)(sample())
    assert results['img'].shape == (48, 64, 3) and results['labels']['depth'].shape == (48, 64)
    results = MTResize(size=(64, 64), labels=False)(sample())
    assert results['img'].shape == (64, 64, 3) and results['labels']['depth'].shape == (72, 96)


def test_rules_come_from_the_task_not_from_its_name(sample):
    results = sample()
    plain = build_tasks(dict(depth=dict(scaling='keep'), normals=dict(rotation='keep')))
    results['tasks'] = {**results['tasks'], **plain}
    flat = np.zeros((72, 96, 3), np.float32)
    flat[...] = 0.6, 0, -0.8
    results['labels'].update(depth=np.full((72, 96), 3, np.float32), normals=flat)
    labels = MTRandomScaleRotate(angles=(20, 20), scales=(1.5, 1.5))(results)['labels']
    np.testing.assert_allclose(labels['depth'], 3, rtol=1e-5)
    np.testing.assert_allclose(labels['normals'], flat, atol=1e-5)
