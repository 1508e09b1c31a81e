"""Loss weighting."""

import math

import pytest
import torch

from mtpeft.models import FixedWeighting, UncertaintyWeighting

TASKS = ['semseg', 'human_parts', 'sal', 'normals', 'depth', 'edge']


def ones(names=TASKS):
    return {name: torch.tensor(1.0, requires_grad=True) for name in names}


def test_protocol_weights():
    weighted = FixedWeighting(TASKS)(ones())
    assert [x.item() for x in weighted.values()] == [1, 2, 5, 10, 1, 50]


def test_weights_in_the_config():
    weighted = FixedWeighting(TASKS, weights=dict(edge=3.0, sal=0))(ones())
    assert [x.item() for x in weighted.values()] == [1, 2, 0, 10, 1, 3]


def test_unknown_task_names_the_nearest():
    with pytest.raises(KeyError, match="Did you mean 'normals'"):
        FixedWeighting(TASKS, weights=dict(normal=1.0))


@pytest.mark.parametrize('weight', [-1.0, math.nan, math.inf])
def test_bad_weight(weight):
    with pytest.raises(ValueError, match="'sal'"):
        FixedWeighting(TASKS, weights=dict(sal=weight))


def test_uncertainty_formula_and_gradients():
    weighting = UncertaintyWeighting(TASKS, log_variance=0.7)
    losses = {name: torch.tensor(float(i + 1)) for i, name in enumerate(TASKS)}
    total = sum(weighting(losses).values())
    sigma2 = math.exp(0.7)
    wanted = sum(
        (i + 1) / (2 * sigma2 if name in ('normals', 'depth') else sigma2) + math.log(sigma2) / 2
        for i, name in enumerate(TASKS)
    )
    assert total.item() == pytest.approx(wanted, rel=1e-6)
    total.backward()
    # d/ds [c exp(-s) L + s/2] = 1/2 - c exp(-s) L
    assert weighting.log_variance['sal'].grad.item() == pytest.approx(0.5 - 3 / sigma2, rel=1e-5)
    assert weighting.log_variance['depth'].grad.item() == pytest.approx(
        0.5 - 0.5 * 5 / sigma2, rel=1e-5
    )


def test_uncertainty_finds_the_optimum():
    """The minimum over s of exp(-s) L + s/2 is at sigma^2 = 2 L."""
    weighting = UncertaintyWeighting(['semseg'])
    optimizer = torch.optim.LBFGS(weighting.parameters(), max_iter=100)

    def closure():
        optimizer.zero_grad()
        loss = weighting(dict(semseg=torch.tensor(3.0)))['semseg']
        loss.backward()
        return loss

    optimizer.step(closure)
    assert weighting.log_variance['semseg'].exp().item() == pytest.approx(6.0, rel=1e-3)


def test_uncertainty_of_an_unlabelled_task_rests_but_is_connected():
    weighting = UncertaintyWeighting(['semseg', 'depth'])
    losses = dict(semseg=torch.tensor(2.0), depth=torch.tensor(0.0))
    sum(weighting(losses).values()).backward()
    assert weighting.log_variance['depth'].grad.item() == 0
    assert weighting.log_variance['semseg'].grad.item() != 0
    # labelled in another process only
    weighting.zero_grad()
    values = dict(semseg=torch.tensor(1.0), depth=torch.tensor(1.0))
    sum(weighting(losses, values).values()).backward()
    assert weighting.log_variance['depth'].grad.item() == 0.5


def test_uncertainty_may_start_at_the_weights_of_the_tasks():
    weighting = UncertaintyWeighting(TASKS, log_variance='loss_weight')
    losses = ones()
    sum(weighting(losses).values()).backward()
    for name, weight in zip(TASKS, (1, 2, 5, 10, 1, 50), strict=True):
        assert losses[name].grad.item() == pytest.approx(weight, rel=1e-5), name
    with pytest.raises(ValueError, match="give a number or 'loss_weight'"):
        UncertaintyWeighting(TASKS, log_variance='weights')
    with pytest.raises(ValueError, match="'sal' has loss_weight=0"):
        UncertaintyWeighting(dict(sal=dict(loss_weight=0)), log_variance='loss_weight')


def test_keys_name_the_task():
    assert list(UncertaintyWeighting(['sal']).state_dict()) == ['log_variance.sal']
