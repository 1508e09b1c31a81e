"""One base for the first convolution of all heads."""

import numpy as np
import pytest
import torch

from mtpeft.adapters import ClockNet
from mtpeft.models import TSPD, HRNetHead, SharedBaseDecoder, parameter_components
from mtpeft.models.build import build_module
from mtpeft.ops.modulation import modulate

WIDTHS = (4, 6)
TASKS = dict(semseg=dict(num_classes=5), depth=dict())


def streams(batch=2):
    return {
        task: tuple(torch.randn(batch, c, s, s) for c, s in zip(WIDTHS, (8, 4), strict=True))
        for task in TASKS
    }


def test_it_is_an_hrnet_head_a_task_with_a_modulated_first_convolution():
    """Plain heads with the formed weights give the same, in training mode too."""
    decoder, features = SharedBaseDecoder(TASKS, WIDTHS, channels=12), streams()
    omega = decoder.clock.frequencies()
    with torch.no_grad():
        decoder.share.fill_(-1.0)
    share = 1 / (1 + np.e)
    sharp, smooth = (modulate(decoder.base[None], omega, sum(WIDTHS) ** -0.5, lowpass=low)
                     for low in (False, True))  # fmt: skip
    kernels = (1 - share) * sharp + share * smooth
    for mode in (True, False):
        decoder.train(mode)
        for index, (task, channels) in enumerate((('semseg', 5), ('depth', 1))):
            head = HRNetHead(WIDTHS, 12, out_channels=channels).train(mode)
            with torch.no_grad():
                head.conv1.weight.copy_(kernels[index])
                head.conv1.bias.copy_(decoder.bias[task])
                head.norm.load_state_dict(decoder.norm[task].state_dict())
                head.conv2.load_state_dict(decoder.conv[task].state_dict())
                expected = head(features[task])
                found = decoder(features)[task]
            torch.testing.assert_close(found, expected)
            decoder.norm[task].load_state_dict(head.norm.state_dict())


def test_everything_gets_a_gradient_also_the_shared_clock():
    clock = ClockNet(TASKS)
    decoder = SharedBaseDecoder(TASKS, WIDTHS, clock=clock)
    assert not [name for name, _ in decoder.named_parameters() if 'clock' in name]
    logits = decoder(streams())
    sum(x.square().mean() for x in logits.values()).backward()
    for name, parameter in [*decoder.named_parameters(), *clock.named_parameters()]:
        if name.split('.')[0] == 'bias':
            continue  # a bias before a norm moves nothing
        assert parameter.grad.abs().sum() > 0, name


def test_components():
    decoder = SharedBaseDecoder(TASKS, WIDTHS, channels=12)
    counts = parameter_components(decoder)
    assert counts == {
        'shared_base': 12 * 10 + 1,
        # bias, norm, last convolution
        'heads': 2 * (12 + 2 * 12) + 12 * (5 + 1) + (5 + 1),
        'task_tokens': 2 * 96,
        'clock_net': 96 + 2,
    }
    assert sum(counts.values()) == sum(p.numel() for p in decoder.parameters())


def test_no_channels_given_means_four_times_the_widths():
    assert SharedBaseDecoder(TASKS, WIDTHS).base.shape == (40, 10, 1, 1)


def test_weights_are_kept_in_evaluation(monkeypatch):
    decoder, features, calls = SharedBaseDecoder(TASKS, WIDTHS).eval(), streams(), []
    make = SharedBaseDecoder.kernels
    monkeypatch.setattr(SharedBaseDecoder, 'kernels', lambda self: calls.append(1) or make(self))
    with torch.no_grad():
        first = decoder(features)
        assert torch.equal(decoder(features)['depth'], first['depth']) and len(calls) == 1
        decoder.clock.tokens['depth'].mul_(-1)
        second = decoder(features)
        decoder.share.add_(1)
        assert not torch.equal(decoder(features)['depth'], second['depth'])
    assert len(calls) == 3
    assert torch.equal(first['semseg'], second['semseg'])
    assert not torch.equal(first['depth'], second['depth'])


@pytest.mark.parametrize('options', [dict(sine=False), dict(lowpass=False)])
def test_options_take_parts_out(options):
    decoder = SharedBaseDecoder(TASKS, WIDTHS, gain=2.0, **{'lowpass': True, **options})
    assert not hasattr(decoder, 'share')
    base, omega = decoder.base[None], decoder.clock.frequencies()
    torch.testing.assert_close(decoder.kernels(), modulate(base, omega, 2.0, **options))
    assert not torch.allclose(decoder.kernels(), modulate(base, omega, 2.0))


def test_behind_ts_pd_and_from_a_config():
    decoder = build_module(
        dict(type='SharedBaseDecoder', clock=dict(lcn=False, scale=10.0)),
        tasks=TASKS, in_channels=WIDTHS,
    )  # fmt: skip
    logits = decoder(TSPD(WIDTHS, tasks=TASKS, base_sizes=((8, 8), (4, 4)))(streams()))
    assert {name: x.shape for name, x in logits.items()} == {
        'semseg': (2, 5, 8, 8), 'depth': (2, 1, 8, 8)
    }  # fmt: skip
    assert decoder.clock.bounds == (5.0, 25.0)


def test_bad_input():
    with pytest.raises(KeyError, match="no token for task 'depth'"):
        SharedBaseDecoder(TASKS, WIDTHS, clock=ClockNet(['semseg']))
    with pytest.raises(ValueError, match='Expected 2 levels.*got 1'):
        SharedBaseDecoder(TASKS, WIDTHS)((torch.rand(1, 4, 8, 8),))
    with pytest.raises(KeyError, match="no features for task 'depth'"):
        SharedBaseDecoder(TASKS, WIDTHS)({'semseg': streams()['semseg']})
    with pytest.raises(ValueError, match="True, False or 'learnt', got 'share'"):
        SharedBaseDecoder(TASKS, WIDTHS, lowpass='share')
