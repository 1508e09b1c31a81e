"""Frequencies of tasks from their tokens."""

import numpy as np
import pytest
import torch
from helpers.backbones import TINY

from mtpeft.adapters import ClockNet
from mtpeft.models import MultiTaskModel, SharedBaseDecoder
from mtpeft.tasks import build_tasks

TASKS = ('semseg', 'depth', 'normals')


def test_the_formula():
    clock = ClockNet(TASKS, channels=8, scale=20.0, shift=1.2)
    head = clock.heads[0]
    with torch.no_grad():
        head.s.fill_(17.0)
        head.c.fill_(1.3)
    w = head.W_q.detach().numpy()
    expected = [
        17.0 * (np.tanh(np.maximum(clock.tokens[task].detach().numpy(), 0) @ w) + 1.3)
        for task in TASKS
    ]
    np.testing.assert_allclose(clock.frequencies().detach().numpy(), expected, rtol=1e-5)
    some = clock.frequencies(['normals', 'semseg'])
    torch.testing.assert_close(some, clock.frequencies()[[2, 0]])


@pytest.mark.parametrize('options', [dict(), dict(lcn=False), dict(per='layer'),
                                     dict(lcn=False, per='layer')], ids=str)  # fmt: skip
def test_frequencies_differ_lie_within_bounds_and_get_a_gradient(options):
    clock = ClockNet(TASKS, channels=16, **options)
    sites = [clock.add_site() for _ in range(2)]
    low, high = clock.bounds
    assert low > 0
    for site in sites:
        omega = clock.frequencies(site=site)
        assert ((omega > low) & (omega < high)).all()
        assert len({round(float(w), 3) for w in omega}) == len(TASKS)
    sum(clock.frequencies(site=site).sum() for site in sites).backward()
    for name, parameter in clock.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    same = torch.equal(clock.frequencies(site=sites[0]), clock.frequencies(site=sites[1]))
    assert same == ('per' not in options)


def test_tokens_are_there_where_they_are_used():
    assert len(ClockNet(TASKS).tokens) == 3
    assert len(ClockNet(TASKS, lcn=False).tokens) == 0
    assert len(ClockNet(TASKS, lcn=False, tokens='prepend').tokens) == 3
    assert ClockNet(TASKS, channels=8).stacked_tokens().shape == (3, 8)


def test_files_name_tasks_and_take_any_order():
    clock, other = ClockNet(TASKS, channels=8), ClockNet(TASKS[::-1], channels=8)
    assert {f'tokens.{task}' for task in TASKS} <= clock.state_dict().keys()
    other.load_state_dict(clock.state_dict())
    torch.testing.assert_close(other.frequencies(TASKS), clock.frequencies())
    free, other = (ClockNet(tasks, lcn=False) for tasks in (TASKS, TASKS[::-1]))
    assert {f'heads.0.theta.{task}' for task in TASKS} == free.state_dict().keys()
    other.load_state_dict(free.state_dict())
    torch.testing.assert_close(other.frequencies(TASKS), free.frequencies())


def test_autocast_leaves_frequencies_alone():
    clock = ClockNet(TASKS)
    with torch.autocast('cpu', torch.bfloat16):
        low = clock.frequencies()
    assert torch.equal(low, clock.frequencies()) and low.dtype == torch.float32


@pytest.mark.parametrize('options, message', [
    (dict(per='block'), "per='block' is unknown.*layer"),
    (dict(tokens='prepended'), "tokens='prepended' is unknown.*prepend"),
    (dict(scale=0.0), 'positive scale.*0.0'),
    (dict(channels=0), 'number of channels.* 0'),
])  # fmt: skip
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        ClockNet(TASKS, **options)


def test_a_task_without_a_token():
    with pytest.raises(KeyError, match="no token for task 'edge'"):
        ClockNet(TASKS).frequencies(['edge'])
    with pytest.raises(KeyError, match="no token for task 'depths'.*depth"):
        ClockNet(TASKS).check(['depths'])


def test_tasks_may_have_names_of_their_own():
    """A name says nothing of the kind of task."""
    spec = dict(rooms=dict(type='semseg', num_classes=3), far=dict(type='depth'))
    assert ClockNet(spec).tasks == ('rooms', 'far')
    assert ClockNet(build_tasks(spec).values()).tasks == ('rooms', 'far')
    plugins = [dict(cfg=dict(type='SineAWB', rank=2), targets=['fc2'], lanes='task')]
    backbone = dict(type='AdapterBackbone', backbone=TINY['timm Swin'], plugins=plugins)
    model = MultiTaskModel(spec, backbone, dict(type='SharedBaseDecoder'))
    assert model.decoder.clock is model.backbone.clock
    assert model(torch.rand(1, 3, 32, 32))['rooms'].shape == (1, 3, 32, 32)
    assert SharedBaseDecoder(spec, (4, 8)).clock.tasks == ('rooms', 'far')
