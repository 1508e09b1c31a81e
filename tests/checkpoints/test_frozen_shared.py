"""Frozen matrices of adapters and of what layers share are no base: files hold them."""

import pytest
import torch
from helpers.adapter_grid import stir
from helpers.configs import PICO, build
from helpers.engine import call_tool, tiny, train, write_base
from helpers.vera import KINDS, registered
from safetensors.torch import load_file

from mtpeft.apis import init_model
from mtpeft.checkpoints.files import CheckpointError, safe_load
from mtpeft.checkpoints.model_state import frozen_state_keys
from mtpeft.models.backbones import AdapterBackbone
from mtpeft.registry import MODELS

TOOLS = 'tools/model_converters'


@pytest.fixture(autouse=True)
def known():
    with registered():
        yield


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    return write_base(tmp_path_factory.mktemp('base') / 'base.pth')


def config(base, kind):
    plugins = [
        dict(cfg=dict(type='UnmergedVeRA', rank=3, kind=kind), targets=['qkv']),
        dict(cfg=dict(type='VeRA', rank=4, kind=kind), targets=['fc1', 'fc2'], lanes='task'),
    ]
    return tiny(base, model__backbone__plugins=plugins, train_cfg__max_epochs=1)


def outputs(model):
    x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return model.eval()(x)


def loaded(cfg, file):
    """As in another process, whose generator gives other numbers."""
    torch.manual_seed(1234)
    return init_model(cfg, file)


@pytest.mark.parametrize('kind', KINDS)
def test_every_file_gives_the_model_back(kind, base, tmp_path):
    cfg = config(base, kind)
    cfg.dump(tmp_path / 'config.py')
    runner = train(cfg, tmp_path / 'run')
    # a gain that starts at 0 hides the matrices
    stir(runner.model, 0.5)
    runner.save_checkpoint(str(tmp_path), 'stirred.pth', meta=dict(epoch=1, iter=1))
    trained = tmp_path / 'stirred.pth'
    expected = outputs(runner.model)
    state = safe_load(trained)['state_dict']
    assert (
        {k for k in state if 'commons.' in k}
        == {k for k in runner.model.state_dict() if 'commons.' in k}
        != set()
    )
    assert 'backbone.network.layers.0.blocks.0.mlp.fc1.weight' not in state, 'the base is left out'
    call_tool(f'{TOOLS}/publish_model.py', trained, tmp_path / 'published.safetensors')
    call_tool(
        f'{TOOLS}/merge_adapters.py', tmp_path / 'config.py', trained,
        tmp_path / 'merged.safetensors',
    )  # fmt: skip
    for file in ('stirred.pth', 'published.safetensors', 'merged.safetensors'):
        found = outputs(loaded(cfg, tmp_path / file))
        for task, values in expected.items():
            torch.testing.assert_close(found[task], values, rtol=1e-4, atol=1e-4, msg=file)
    assert any('commons.0.A' in key for key in load_file(tmp_path / 'merged.safetensors'))


@pytest.mark.parametrize('kind', KINDS)
def test_the_base_is_the_same_whatever_lies_beside_it(kind, base):
    lora = [dict(cfg=dict(type='LoRA', rank=2), targets=['proj'])]
    identities = set()
    for seed, plugins in enumerate([None, None, [], lora]):
        cfg = config(base, kind)
        if plugins is not None:
            cfg.model.backbone.plugins = plugins
        torch.manual_seed(seed)
        model = MODELS.build(cfg.model)
        model.init_weights()
        identities.add(model.backbone.base_identity()['sha256'])
    assert len(identities) == 1


@pytest.mark.parametrize('kind', KINDS)
def test_a_missing_matrix_is_missed(kind, base, tmp_path):
    cfg = config(base, kind)
    model = MODELS.build(cfg.model)
    model.init_weights()
    key = next(k for k in model.state_dict() if 'commons.1.B' in k)
    assert key not in frozen_state_keys(model)
    state = {k: v for k, v in model.state_dict().items() if k != key}
    torch.save(dict(state_dict=state, meta={}), tmp_path / 'file.pth')
    with pytest.raises(CheckpointError, match=f'missing in the file: {key}'):
        init_model(cfg, tmp_path / 'file.pth')


@pytest.mark.parametrize('kind', KINDS)
def test_reports_count_parameters_and_not_buffers(kind, base):
    model = MODELS.build(config(base, kind).model).backbone
    counted = [name for names in model.parameter_components().values() for name in names]
    assert sorted(counted) == sorted(name for name, _ in model.named_parameters())
    shared = model.parameter_components().get('vera_matrices', [])
    assert bool(shared) == (kind == 'parameters')
    assert not any(n in shared for n, p in model.named_parameters() if p.requires_grad)


@pytest.mark.parametrize('path', PICO, ids=lambda path: path.stem)
def test_what_was_the_base_is_the_base_in_every_config(path):
    """So files of before load, and their base is known again."""
    backbone = getattr(build(path), 'backbone', None)
    if not isinstance(backbone, AdapterBackbone):
        pytest.skip('no adapted backbone')
    trained = {n for n, p in backbone.named_parameters() if p.requires_grad}
    rest = {k for k in backbone.state_dict() if '.adapter.' not in k and k not in trained}
    assert backbone.frozen_state_keys() == (rest if backbone.freeze else set())
