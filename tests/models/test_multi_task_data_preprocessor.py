"""Normalisation and padding of a batch."""

import numpy as np
import pytest
import torch
from tiny_models import TASKS, random_samples

from mtpeft.models import MultiTaskDataPreprocessor
from mtpeft.structures import MultiTaskDataSample
from mtpeft.tasks import build_tasks

MEAN, STD = (10.0, 20.0, 30.0), (1.0, 2.0, 4.0)
SIZES = [(4, 7), (6, 5)]


def pictures(sizes=SIZES):
    rng = np.random.default_rng(0)
    return [torch.from_numpy(rng.integers(0, 256, (3, *s), dtype=np.uint8)) for s in sizes]


def preprocessor(**options):
    return MultiTaskDataPreprocessor(mean=MEAN, std=STD, tasks=TASKS, **options)


@pytest.mark.parametrize('bgr_to_rgb', [True, False])
def test_normalised_then_padded_with_zero(bgr_to_rgb):
    data = dict(inputs=pictures(), data_samples=random_samples(SIZES))
    batch = preprocessor(bgr_to_rgb=bgr_to_rgb)(data)['inputs']
    assert batch.shape == (2, 3, 6, 7) and batch.dtype is torch.float32
    for picture, (h, w), got in zip(pictures(), SIZES, batch.numpy(), strict=True):
        for c in range(3):
            plane = picture[2 - c if bgr_to_rgb else c].numpy().astype(float)
            np.testing.assert_allclose(got[c, :h, :w], (plane - MEAN[c]) / STD[c], rtol=1e-6)
        assert not got[:, h:].any() and not got[:, :, w:].any()


def test_a_stack_equals_a_list():
    same = pictures([(4, 5)] * 3)
    a = preprocessor()(dict(inputs=same))
    b = preprocessor()(dict(inputs=torch.stack(same), data_samples=None))
    assert torch.equal(a['inputs'], b['inputs']) and a['data_samples'] is None


def test_training_pads_each_label_with_its_own_ignore_value():
    original = random_samples(SIZES)
    data = dict(inputs=pictures(), data_samples=original)
    out = preprocessor()(data, training=True)['data_samples']
    for name, task in build_tasks(TASKS).items():
        for sample, before, (h, w) in zip(out, original, SIZES, strict=True):
            label = sample.get_gt(name)
            assert label.shape == (task.label_channels, 6, 7)
            assert torch.equal(label[:, :h, :w], before.get_gt(name))
            valid = task.valid(label, channel_axis=0)
            assert not valid[h:].any() and not valid[:, w:].any() and valid.any()
            assert before.get_gt(name).shape[-2:] == (h, w)  # the data set's own stays as it is


def test_sizes_in_the_metainfo():
    data = dict(inputs=pictures(), data_samples=random_samples(SIZES))
    for training in (True, False):
        out = preprocessor()(data, training)['data_samples']
        assert [s.img_shape for s in out] == SIZES
        assert [s.batch_shape for s in out] == [(6, 7)] * 2
        assert [s.ori_shape for s in out] == SIZES


def test_testing_leaves_labels_alone():
    labels = random_samples([(9, 9), (20, 3)])
    out = preprocessor()(dict(inputs=pictures(), data_samples=labels))['data_samples']
    assert [s.get_gt('depth').shape for s in out] == [(1, 9, 9), (1, 20, 3)]


def test_missing_labels_stay_missing():
    samples = random_samples(SIZES, labelled=[['sal'], []])
    out = preprocessor()(dict(inputs=pictures(), data_samples=samples), True)['data_samples']
    assert [list(s.gt) for s in out] == [['sal'], []]


@pytest.mark.parametrize(
    ('task', 'shape'), [('depth', (1, 8, 7)), ('normals', (1, 4, 7)), ('sal', (3, 4, 7))]
)
def test_label_that_does_not_fit_names_the_picture(task, shape):
    samples = random_samples(SIZES)
    samples[0].set_gt(task, torch.zeros(shape))
    with pytest.raises(ValueError, match=rf"'{task}' of picture picture_0.jpg: expected"):
        preprocessor()(dict(inputs=pictures(), data_samples=samples), training=True)


def test_bad_arguments():
    with pytest.raises(ValueError, match='as many means as positive'):
        MultiTaskDataPreprocessor(mean=(1.0,), std=STD)
    with pytest.raises(ValueError, match='positive standard deviations'):
        MultiTaskDataPreprocessor(mean=MEAN, std=(1.0, 0.0, 1.0))
    with pytest.raises(ValueError, match=r'pictures \(3, H, W\)'):
        preprocessor()(dict(inputs=[torch.zeros(4, 4)], data_samples=[MultiTaskDataSample()]))


def test_nothing_goes_into_a_checkpoint():
    assert preprocessor().state_dict() == {}
