"""A picture's prediction is the one that it has alone."""

import pytest
import torch
from helpers.configs import PICO, build
from models.tiny_models import TASKS, TinyBackbone, tiny_model

from mtpeft.structures import MultiTaskDataSample

#: one config of every method
METHODS = {path.parent.name: path for path in reversed(PICO)}
SIZES = [(64, 96), (160, 128), (33, 70), (64, 90)]


def batch_of(model, pictures):
    samples = [MultiTaskDataSample(metainfo=dict(img_path=f'{i}')) for i in range(len(pictures))]
    return model.data_preprocessor(dict(inputs=list(pictures), data_samples=samples))


def pictures_of(sizes=SIZES):
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(256, (3, *s), generator=generator, dtype=torch.uint8) for s in sizes]


@torch.no_grad()
def check(model, **options):
    pictures = pictures_of()
    together = model(**batch_of(model, pictures), mode='predict', **options)
    for picture, found in zip(pictures, together, strict=True):
        (alone,) = model(**batch_of(model, [picture]), mode='predict', **options)
        for name, expected in alone.pred.items():
            assert found.get_pred(name).shape[-2:] == picture.shape[-2:]
            if expected.is_floating_point():
                torch.testing.assert_close(found.get_pred(name), expected, rtol=1e-4, atol=1e-4)
            else:
                assert (found.get_pred(name) != expected).float().mean() < 1e-3


@pytest.mark.parametrize('method', METHODS)
def test_other_pictures_of_a_batch_change_nothing(method):
    check(build(METHODS[method]).eval())


@pytest.mark.parametrize('options', [
    dict(tta=dict(flip=True, scales=(1, 1.5))),
    dict(test_cfg=dict(mode='slide', crop_size=(32, 48), batch_size=3)),
    dict(test_cfg=dict(mode='slide', crop_size=(64, 64)), tta=dict()),
], ids=str)  # fmt: skip
def test_nor_do_they_with_windows_and_views(options):
    check(tiny_model(**options).eval())


def test_what_lies_beside_the_picture_changes_nothing():
    model = tiny_model(backbone=dict(type=TinyBackbone, tasks=list(TASKS))).eval()
    sample = MultiTaskDataSample(metainfo=dict(img_shape=(20, 30)))
    x = torch.randn(1, 3, 32, 64)
    (first,) = model.predict(x, [sample.clone()])
    x[..., 20:, :] = x[..., 30:] = 7.0
    (second,) = model.predict(x, [sample])
    for name, expected in first.pred.items():
        torch.testing.assert_close(second.get_pred(name), expected)


def test_pictures_that_are_padded_to_one_size_share_a_pass():
    model = tiny_model(backbone=dict(type=TinyBackbone)).eval()
    pictures = pictures_of([(32, 32), (30, 31), (16, 32), (31, 25)])
    model(**batch_of(model, pictures), mode='predict')
    assert model.backbone.seen == [(3, 3, 32, 32), (1, 3, 16, 32)]
