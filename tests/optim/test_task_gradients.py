"""Gradients of the tasks, taken one by one and combined."""

import copy

import numpy as np
import pytest
import torch
from mmengine.optim import OptimWrapper
from models.tiny_models import random_samples, tiny_model
from scipy.optimize import nnls

from mtpeft.models import GradNorm, NashMTL, TorchJD
from mtpeft.optim import TaskGradients

TASKS = dict(semseg=dict(num_classes=5), sal=dict(), depth=dict())
needs_torchjd = pytest.mark.skipif(
    not __import__('importlib.util').util.find_spec('torchjd'), reason='torchjd, an extra'
)


def batch(number=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    pictures = torch.randn(number, 3, 16, 16, generator=generator)
    return pictures, random_samples([(16, 16)] * number, tasks=TASKS, seed=seed)


def model_of(**weighting):
    # BatchNorm in eval mode: statistics of halves differ from those of the whole
    model = tiny_model(tasks=TASKS, loss_weighting=weighting)
    model.decoder.eval()
    return model


def rows_of(model, pictures, samples):
    """The gradient of each task's weighted loss by itself, by parameter."""
    model = copy.deepcopy(model)
    model.loss_weighting.installed = True
    rows = {}
    for name in TASKS:
        model.zero_grad()
        model.loss(pictures, samples)[f'loss_{name}'].backward()
        rows[name] = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    return rows


def gradients(model, batches, accumulate=1, added=None):
    """Gradients of the one update that is made of some batches."""
    wrapper = OptimWrapper(
        torch.optim.SGD(model.parameters(), lr=1.0), accumulative_counts=accumulate
    )
    TaskGradients(wrapper, model).install()
    found = {}
    wrapper.step = lambda: found.update(
        {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    )
    for pictures, samples in batches:
        with wrapper.optim_context(model):
            losses = model(pictures, samples, mode='loss')
        loss, log = model.parse_losses(losses)
        assert log['loss'].item() == pytest.approx(
            sum(losses[f'loss_{name}'].item() for name in TASKS), rel=1e-5
        )
        wrapper.update_params(loss if added is None else loss + added(model))
    return found


def flat(rows, names):
    return torch.cat([rows[name].flatten() for name in names])


def assert_same(found, wanted):
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6)


def own_and_shared(rows):
    names = sorted(set().union(*rows.values()))
    shared = [n for n in names if sum(n in row for row in rows.values()) > 1]
    return [n for n in names if n not in shared], shared


def wanted_of(rows, vector):
    """What each parameter should get, of the combined gradient of the shared ones."""
    own, shared = own_and_shared(rows)
    assert own and shared
    wanted = {n: next(row[n] for row in rows.values() if n in row) for n in own}
    some = next(iter(rows.values()))
    pieces = vector.split([some[n].numel() for n in shared])
    return wanted | {n: v.view_as(some[n]) for n, v in zip(shared, pieces, strict=True)}


@needs_torchjd
def test_sum_is_the_plain_gradient():
    pictures, samples = batch()
    plain = model_of(type='FixedWeighting')
    plain.parse_losses(plain(pictures, samples, mode='loss'))[0].backward()
    wanted = {n: p.grad for n, p in plain.named_parameters() if p.grad is not None}
    found = gradients(model_of(type='TorchJD', aggregator='Sum'), [(pictures, samples)])
    assert_same(found, wanted)


@needs_torchjd
def test_upgrad_by_its_definition():
    """The mean of the projections onto {y: J y >= 0}: x + J^T v, v >= 0 of least squares."""
    model, (pictures, samples) = model_of(type='TorchJD'), batch()
    rows = rows_of(model, pictures, samples)
    shared = own_and_shared(rows)[1]
    jacobian = np.stack([flat(row, shared).double().numpy() for row in rows.values()])
    parts = [x + jacobian.T @ nnls(jacobian.T, -x)[0] for x in jacobian]
    vector = torch.tensor(np.mean(parts, 0)).float()
    assert (jacobian @ np.mean(parts, 0) >= -1e-9).all()  # no task's loss rises
    assert_same(gradients(model, [(pictures, samples)]), wanted_of(rows, vector))


@needs_torchjd
def test_nash_mtl_is_a_fair_bargain():
    """What each task gains, times its weight, is the same: G G^T alpha = 1 / alpha to a factor."""
    pytest.importorskip('ecos', reason='the solver of NashMTL has no wheel for this Python')
    jacobian = torch.tensor([[1.0, 0.2, 0.0], [-0.3, 1.0, 0.5]])
    gradient, _ = NashMTL(['sal', 'depth']).combine(jacobian, torch.ones(2))
    alpha = torch.linalg.lstsq(jacobian.T, gradient[:, None]).solution[:, 0]
    shares = (jacobian @ gradient) * alpha
    torch.testing.assert_close(jacobian.T @ alpha, gradient)
    torch.testing.assert_close(shares, shares.mean().expand(2), rtol=1e-3, atol=1e-5)


@needs_torchjd
def test_pcgrad_by_hand():
    """Of two gradients in conflict each loses its part along the other."""
    a, b = torch.tensor([3.0, 1.0, 0.0]), torch.tensor([-2.0, 1.0, 1.0])
    weighting = TorchJD(['sal', 'depth'], aggregator='PCGrad')
    found, _ = weighting.combine(torch.stack([a, b]), torch.ones(2))
    wanted = a - (a @ b) / (b @ b) * b + b - (a @ b) / (a @ a) * a
    assert a @ b < 0
    torch.testing.assert_close(found, wanted)
    together, _ = weighting.combine(torch.stack([a, -b]), torch.ones(2))
    torch.testing.assert_close(together, a - b)


@pytest.mark.parametrize(
    'weighting',
    [
        pytest.param(dict(type='TorchJD'), marks=needs_torchjd),
        dict(type='GradNorm'),
    ],
    ids=lambda w: w['type'],
)
def test_gradients_of_accumulated_batches_are_combined_once(weighting):
    pictures, samples = batch(4)
    halves = [(pictures[:2], samples[:2]), (pictures[2:], samples[2:])]
    model = model_of(**weighting)
    rows = [rows_of(model, *half) for half in halves]
    found = gradients(copy.deepcopy(model), halves, accumulate=2)
    mean = {t: {n: (rows[0][t][n] + rows[1][t][n]) / 2 for n in rows[0][t]} for t in TASKS}
    shared = own_and_shared(mean)[1]
    matrix = torch.stack([flat(row, shared) for row in mean.values()])
    vector, _ = model.loss_weighting.combine(matrix, torch.ones(3))
    assert_same(found, wanted_of(mean, vector))


def test_what_a_hook_adds_to_the_loss_has_its_own_gradient():
    data = batch()
    plain = gradients(model_of(type='GradNorm'), [data])
    found = gradients(
        model_of(type='GradNorm'), [data], added=lambda m: 3 * m.backbone.stem.bias.sum()
    )
    plain['backbone.stem.bias'] = plain['backbone.stem.bias'] + 3
    assert_same(found, plain)


class _Scaled(OptimWrapper):
    """A loss scaler as a wrapper in half precision has it."""

    class loss_scaler:
        @staticmethod
        def get_scale():
            return 2.0**10

    def backward(self, loss, **options):
        super().backward(loss * self.loss_scaler.get_scale(), **options)


@needs_torchjd
def test_a_loss_scaler_scales_what_comes_out():
    data, found = batch(), {}
    for kind, scale in ((OptimWrapper, 1), (_Scaled, 2.0**10)):
        model = model_of(type='TorchJD')
        wrapper = kind(optimizer=torch.optim.SGD(model.parameters(), lr=1.0))
        TaskGradients(wrapper, model).install()
        wrapper.step = wrapper.zero_grad = lambda: None
        wrapper.update_params(model.parse_losses(model(*data, mode='loss'))[0])
        found[kind] = {n: p.grad / scale for n, p in model.named_parameters()}
    assert_same(found[_Scaled], found[OptimWrapper])


@needs_torchjd
def test_what_is_not_finite_is_left_to_the_scaler():
    model, (pictures, samples) = model_of(type='TorchJD'), batch()
    model.check_finite = False
    pictures[0, 0, 0, 0] = torch.inf
    found = gradients(model, [(pictures, samples)])
    assert not all(torch.isfinite(g).all() for g in found.values())


def test_alone_it_refuses():
    model = model_of(type='GradNorm')
    with pytest.raises(RuntimeError, match='build_runner'):
        model(*batch(), mode='loss')
    with torch.no_grad():
        model(*batch(), mode='loss')
    with pytest.raises(TypeError, match='FixedWeighting'):
        TaskGradients(
            OptimWrapper(torch.optim.SGD(model.parameters(), lr=1)),
            model_of(type='FixedWeighting'),
        )


def test_grad_norm_descends_the_papers_sum():
    """Its gradient by autograd, of the sum written out from the paper."""
    generator = torch.Generator().manual_seed(0)
    weighting = GradNorm(list(TASKS), alpha=1.5, lr=0.01)
    first = torch.rand(3, generator=generator) + 0.5
    for step in range(4):
        jacobian = torch.randn(3, 7, generator=generator)
        values = first if step == 0 else torch.rand(3, generator=generator) + 0.5
        w = weighting.factors.clone().requires_grad_()
        norms = (w[:, None] * jacobian).norm(dim=1)
        pace = (values / first) / (values / first).mean()
        target = (norms.mean() * pace**1.5).detach()
        (norms - target).abs().sum().backward()
        torch.testing.assert_close(weighting.gradient(jacobian, values), w.grad)
        before = weighting.factors.clone()
        vector, factors = weighting.combine(jacobian, values)
        torch.testing.assert_close(vector, before @ jacobian)
        assert torch.equal(factors, before)
        assert weighting.factors.sum().item() == pytest.approx(3, rel=1e-6)


def test_grad_norm_steps_as_adam_and_goes_on_where_it_was():
    generator = torch.Generator().manual_seed(1)
    weighting, resumed = GradNorm(list(TASKS)), GradNorm(list(TASKS))
    w = torch.ones(3, requires_grad=True)
    adam = torch.optim.Adam([w], lr=0.025)
    for step in range(5):
        jacobian = torch.randn(3, 5, generator=generator)
        values = torch.rand(3, generator=generator) + 0.5
        if step == 3:
            resumed.load_state_dict(copy.deepcopy(weighting.state_dict()))
        w.grad = weighting.gradient(jacobian, values)
        adam.step()
        weighting.combine(jacobian, values)
        with torch.no_grad():
            w.mul_(3 / w.sum())
        torch.testing.assert_close(weighting.factors, w.detach())
        if step >= 3:
            resumed.combine(jacobian, values)
            assert torch.equal(resumed.factors, weighting.factors)


@needs_torchjd
@pytest.mark.parametrize(
    'weighting, error, words',
    [
        (dict(aggregator='UPgrad'), ValueError, "Did you mean 'UPGrad'"),
        (dict(aggregator='Aggregator'), ValueError, 'no aggregator'),
        (dict(aggregator='CAGrad'), TypeError, "missing a required argument: 'c'"),
        (dict(aggregator='Mean', options=dict(see=1)), TypeError, 'see'),
    ],
)
def test_bad_options(weighting, error, words):
    with pytest.raises(error, match=words):
        TorchJD(list(TASKS), **weighting)


@needs_torchjd
@pytest.mark.parametrize(
    'name, options',
    [
        ('UPGrad', dict(pref_vector=[1.0, 1, 2])), ('MGDA', {}), ('IMTLG', {}), ('Mean', {}),
        ('AlignedMTL', {}), ('GradDrop', {}), ('Random', {}), ('Krum', dict(n_byzantine=0)),
    ],
)  # fmt: skip
def test_any_aggregator_by_name(name, options):
    found = gradients(model_of(type='TorchJD', aggregator=name, options=options), [batch()])
    assert all(torch.isfinite(g).all() for g in found.values())
