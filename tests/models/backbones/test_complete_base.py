"""A state dict without its base is completed from ``pretrained`` or refused, whoever loads it."""

import pytest
import torch
from mmengine.runner.checkpoint import load_state_dict as load_by_mmengine
from torch import nn

from mtpeft.models.backbones import AdapterBackbone
from mtpeft.models.backbones.networks import build_network
from mtpeft.models.backbones.pretrained import PretrainedWeightsError

NETWORK = dict(
    type='timm.swin_tiny_patch4_window7_224', embed_dim=8, depths=(1, 1, 1, 1),
    num_heads=(1, 1, 2, 2),
)  # fmt: skip
LOADERS = dict(
    torch=lambda model, state: model.load_state_dict(state, strict=False),
    strict=lambda model, state: model.load_state_dict(state),
    mmengine=lambda model, state: load_by_mmengine(model, dict(state), strict=True),
)
loaders = pytest.mark.parametrize('load', LOADERS.values(), ids=LOADERS)


def make(pretrained, seed=0):
    torch.manual_seed(seed)
    return AdapterBackbone(
        dict(NETWORK, pretrained=pretrained),
        plugins=[dict(cfg=dict(type='DoRA', rank=2), targets=['qkv', 'fc1'])],
    )


@pytest.fixture
def base(tmp_path):
    torch.manual_seed(7)
    torch.save(build_network(NETWORK).state_dict(), tmp_path / 'base.pth')
    return str(tmp_path / 'base.pth')


@pytest.fixture
def trained(base):
    model = make(base)
    model.init_weights()
    for name, parameter in model.named_parameters():
        if '.adapter.' in name:
            nn.init.normal_(parameter)
    frozen = model.frozen_state_keys()
    return model, {k: v.clone() for k, v in model.state_dict().items() if k not in frozen}


def same(one, other):
    return all(torch.equal(one.state_dict()[key], x) for key, x in other.state_dict().items())


@loaders
@pytest.mark.parametrize('inside', [False, True], ids=['alone', 'in a segmentor'])
def test_the_base_comes_from_pretrained(base, trained, load, inside):
    model, state = trained
    keys = set(state)
    fresh = make(base, seed=1)
    if inside:
        whole = nn.ModuleDict(dict(backbone=fresh))
        load(whole, {f'backbone.{key}': value for key, value in state.items()})
    else:
        load(fresh, state)
    assert same(fresh, model)
    assert set(state) == keys  # what was given is not changed


@loaders
@pytest.mark.parametrize('pretrained', [False, None])
def test_a_random_base_is_refused(trained, load, pretrained):
    with pytest.raises(
        PretrainedWeightsError, match='does not hold the frozen base.*pretrained is'
    ):
        load(make(pretrained, seed=1), trained[1])


def test_a_base_that_is_there_stays(base, trained):
    model, state = trained
    loaded = make(False, seed=1)
    loaded.load_state_dict(model.state_dict())  # whole, so what follows needs no base
    other = {key: value + 1 for key, value in state.items()}
    loaded.load_state_dict(other)
    assert all(torch.equal(loaded.state_dict()[key], value) for key, value in other.items())
    frozen = model.frozen_state_keys()
    assert all(torch.equal(loaded.state_dict()[k], model.state_dict()[k]) for k in frozen)


def test_random_weights_that_were_asked_for_are_a_base(trained):
    meant, counted = make(False, seed=1), make(False, seed=1)
    meant.init_weights()
    counted.keep_base()
    for model in (meant, counted):
        model.load_state_dict(trained[1], strict=False)
    assert same(meant, counted)
