"""Windows: the mean over all that hold a pixel, as mmsegmentation takes it."""

import json
import tempfile
from pathlib import Path

import pytest
import torch
from mmengine.config import ConfigDict
from mmseg.models import EncoderDecoder
from models.tiny_models import tiny_model
from torch.profiler import ProfilerActivity, profile

from mtpeft.models.prediction.slide import starts, windows
from mtpeft.structures import MultiTaskDataSample

SIZES = [
    ((32, 40), (16, 16), (10, 8)),
    ((33, 47), (16, 20), (16, 20)),
    ((12, 50), (16, 16), (5, 11)),
]


def network(x):
    """Something that depends on where in its window a pixel is."""
    rows = torch.arange(x.shape[-2]).view(-1, 1) / 7
    return torch.cat([x.mean((1, 2, 3), keepdim=True) * x + rows, (x * 3).sin()], 1)


@pytest.mark.parametrize('batch_size', [1, 3])
@pytest.mark.parametrize(('size', 'crop', 'stride'), SIZES)
def test_it_is_the_mean_of_mmsegmentation(size, crop, stride, batch_size):
    x = torch.randn(1, 3, *size)
    segmentor = EncoderDecoder.__new__(EncoderDecoder)
    torch.nn.Module.__init__(segmentor)
    segmentor.test_cfg = ConfigDict(mode='slide', crop_size=crop, stride=stride)
    segmentor.out_channels = 6
    segmentor.encode_decode = lambda x, metas: network(x)
    expected = segmentor.slide_inference(x, [dict(img_shape=size)])
    strips = windows(x, crop, stride, lambda x: dict(a=network(x)), batch_size)
    torch.testing.assert_close(torch.cat([s['a'] for s in strips], 2), expected)


@pytest.mark.parametrize('length', range(1, 30))
@pytest.mark.parametrize(('crop', 'stride'), [(5, 5), (5, 2), (7, 3)])
def test_every_pixel_is_in_a_window_and_no_window_is_outside(length, crop, stride):
    crop = min(crop, length)
    held = {start + i for start in starts(length, crop, stride) for i in range(crop)}
    assert held == set(range(length))


def test_each_task_is_averaged_by_its_rule():
    model = tiny_model(test_cfg=dict(mode='slide', crop_size=(24, 24), stride=(16, 16))).eval()
    x = torch.randn(1, 3, 40, 56)
    (sample,) = model.predict(x)
    sums, number = {}, torch.zeros(40, 56)
    for top in (0, 16):
        for left in (0, 16, 32):
            logits = model(x[..., top : top + 24, left : left + 24])
            number[top : top + 24, left : left + 24] += 1
            for name, z in logits.items():
                z = {
                    'sal': z.sigmoid(), 'edge': z.sigmoid(),
                    'normals': z / z.norm(dim=1, keepdim=True),
                }.get(name, z)  # fmt: skip
                whole = sums.setdefault(name, torch.zeros(z.shape[1], 40, 56))
                whole[:, top : top + 24, left : left + 24] += z[0]
    for name, total in sums.items():
        mean = total / number
        if name in ('semseg', 'human_parts'):
            mean = mean.argmax(0, keepdim=True)
        elif name == 'normals':
            mean = mean / mean.norm(dim=0)
        torch.testing.assert_close(sample.get_pred(name), mean)


def test_a_picture_no_larger_than_a_window_is_one():
    x = torch.randn(1, 3, 40, 56)
    whole, slide = tiny_model(), tiny_model(test_cfg=dict(mode='slide', crop_size=(40, 64)))
    sample = MultiTaskDataSample(metainfo=dict(img_shape=(40, 56), ori_shape=(77, 91)))
    (a,), (b,) = (m.eval().predict(x, [sample.clone()]) for m in (whole, slide))
    for name, expected in a.pred.items():
        assert torch.equal(b.get_pred(name), expected)


@torch.no_grad()
def peak_bytes(model, x):
    """The most that tensors take at a time while a picture is predicted."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        (sample,) = model.predict(x)
    assert sample.get_pred('semseg').shape == (1, *x.shape[-2:])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / 'trace.json'
        profiled.export_chrome_trace(str(file))
        events = json.loads(file.read_text())['traceEvents']
    return max(e['args']['Total Allocated'] for e in events if e.get('name') == '[memory]')


def test_memory_does_not_grow_with_the_height_of_a_picture_of_many_classes():
    model = tiny_model(
        tasks=dict(semseg=dict(num_classes=150)), test_cfg=dict(mode='slide', crop_size=(64, 64))
    ).eval()
    x = torch.zeros(1, 3, 1024, 512)
    model.predict(x[..., :128, :128])
    grown = peak_bytes(model, x) - peak_bytes(model, x[:, :, :512])
    assert grown < 150 * 512 * 512 * 4 / 8  # an eighth of the logits of what was added
