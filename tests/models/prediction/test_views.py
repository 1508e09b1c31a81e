"""Flips and scales, each task by its rule; probabilities of classes; options that are refused."""

import pytest
import torch
import torch.nn.functional as F
from models.tiny_models import TASKS, tiny_model
from torch import nn

from mtpeft.models import MultiTaskModel
from mtpeft.models.prediction import test_options as options_of

SIZE = (40, 56)


def x_of(seed=0, batch=2):
    return torch.randn(batch, 3, *SIZE, generator=torch.Generator().manual_seed(seed))


def test_flips_are_averaged_by_the_rules_of_the_tasks():
    x = x_of()
    plain, flipping = tiny_model().eval(), tiny_model(tta=dict(flip=True)).eval()
    straight, mirrored = plain(x), {name: z.flip(3) for name, z in plain(x.flip(3)).items()}
    mirrored['normals'] = mirrored['normals'] * torch.tensor([-1.0, 1, 1]).view(3, 1, 1)
    act = dict(
        semseg=lambda z: z.softmax(1), human_parts=lambda z: z.softmax(1), sal=torch.sigmoid,
        edge=torch.sigmoid, normals=lambda z: F.normalize(z, dim=1), depth=lambda z: z,
    )  # fmt: skip
    samples = flipping.predict(x)
    for name in TASKS:
        mean = (act[name](straight[name]) + act[name](mirrored[name])) / 2
        if name in ('semseg', 'human_parts'):
            mean = mean.argmax(1, keepdim=True)
        mean = F.normalize(mean, dim=1) if name == 'normals' else mean
        found = torch.stack([sample.get_pred(name) for sample in samples])
        torch.testing.assert_close(found, mean)


class Distance(nn.Module):
    """A network for which an object that looks twice as large is half as far away."""

    size_divisor, out_channels, strides = 1, (1,), (1,)

    def forward(self, x):
        # a ramp from 0 to 1 over the picture's width: its slope falls as the picture grows
        slope = (x[:, :1, :, 1:] - x[:, :1, :, :-1]).mean((2, 3), keepdim=True)
        return (slope.expand(-1, 1, *x.shape[-2:]),)


class First(nn.Module):
    def forward(self, levels):
        return dict(depth=levels[0])


@pytest.mark.parametrize('scale', [0.5, 2.0, 3.0])
def test_depth_is_multiplied_by_the_scale_it_was_seen_at(scale):
    model = MultiTaskModel(['depth'], Distance(), First(), tta=dict(flip=False, scales=[scale]))
    ramp = torch.linspace(0, 1, 60).expand(1, 3, 12, 60)
    whole = MultiTaskModel(['depth'], Distance(), First())
    (found,), (expected,) = model.predict(ramp), whole.predict(ramp)
    torch.testing.assert_close(
        found.get_pred('depth'), expected.get_pred('depth'), rtol=0.05, atol=0
    )


def test_a_symmetric_picture_has_normals_without_x_at_its_axis():
    half = torch.randn(1, 3, 32, 16)
    model = tiny_model(tasks=['normals'], tta=dict()).eval()
    (sample,) = model.predict(torch.cat([half, half.flip(3)], 3))
    x = sample.get_pred('normals')[0]
    torch.testing.assert_close(x, -x.flip(1))


@pytest.mark.parametrize('options', [
    dict(), dict(tta=dict()), dict(test_cfg=dict(mode='slide', crop_size=(16, 24))),
    dict(test_cfg=dict(mode='slide', crop_size=(16, 24)), tta=dict(scales=[1, 1.25])),
], ids=str)  # fmt: skip
def test_probabilities_are_those_of_the_prediction(options):
    model = tiny_model(**options).eval()
    for sample in model(x_of(), mode='predict', probabilities=True):
        chances = sample.get_prob('semseg')
        assert chances.shape == (5, *SIZE) and sample.get_prob('depth') is None
        torch.testing.assert_close(chances.sum(0), torch.ones(SIZE))
        assert torch.equal(chances.argmax(0, keepdim=True), sample.get_pred('semseg'))
    assert model.predict(x_of())[0].get_prob('semseg') is None


def test_probabilities_of_a_pass_are_the_softmax_of_its_logits():
    model = tiny_model().eval()
    (sample,) = model.predict(x_of(batch=1), probabilities=True)
    torch.testing.assert_close(
        sample.get_prob('semseg'), model(x_of(batch=1))['semseg'][0].softmax(0)
    )


def test_options_of_predictions_are_of_no_other_mode():
    with pytest.raises(TypeError, match="probabilities: of mode='predict', got mode='tensor'"):
        tiny_model()(x_of(), probabilities=True)


@pytest.mark.parametrize(('options', 'error', 'words'), [
    (dict(test_cfg=dict(mode='slid')), ValueError, "'slid' is unknown.*'slide'"),
    (dict(test_cfg=dict(mode='slide')), ValueError, 'needs the size of a window'),
    (dict(test_cfg=dict(mode='slide', crop_size=64)), ValueError, 'two positive integers.*64'),
    (dict(test_cfg=dict(crop=(1, 1))), TypeError, "no option 'crop'.*crop_size"),
    (dict(test_cfg=dict(mode='slide', crop_size=(8, 8), stride=(9, 8))), ValueError, 'no predict'),
    (dict(test_cfg=dict(mode='slide', crop_size=(8, 8), batch_size=0)), ValueError, 'batch_size'),
    (dict(tta=dict(scales=[])), ValueError, 'positive numbers'),
    (dict(tta=dict(scales=[0])), ValueError, 'positive numbers'),
    (dict(tta=dict(flips=True)), TypeError, "no option 'flips'.*'flip'"),
    (dict(tta=dict(flip=1)), ValueError, 'True or False'),
], ids=str)  # fmt: skip
def test_options_are_checked(options, error, words):
    with pytest.raises(error, match=words):
        options_of(**options)
    with pytest.raises(error, match=words):
        tiny_model(**options)
