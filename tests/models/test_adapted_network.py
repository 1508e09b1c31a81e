"""Adapters on any network, in a training loop of one's own."""

import warnings

import pytest
import timm
import torch
from helpers.adapter_grid import TASKS, label, methods, stir
from torch import nn

import mtpeft
from mtpeft.adapters import adapt_layer
from mtpeft.apis import from_pretrained
from mtpeft.checkpoints.files import CheckpointError
from mtpeft.models import AdaptedNetwork, AdapterBackbone, MultiTaskModel
from mtpeft.models.backbones import PretrainedWeightsError
from mtpeft.models.short_plugins import default_targets

X = torch.randn(5, 12, generator=torch.Generator().manual_seed(1))


def mlp(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(12, 16), nn.GELU(), nn.Linear(16, 12))


def vit(**options):
    torch.manual_seed(0)
    small = dict(embed_dim=24, depth=3, num_heads=2, num_classes=5)
    return timm.create_model('vit_tiny_patch16_224', **{**small, **options})


def encoder(**options):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(12, 4, 16, batch_first=True, **options)
    return nn.TransformerEncoder(layer, 2).eval()


PICTURES = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(2))
TOKENS = torch.randn(3, 6, 12, generator=torch.Generator().manual_seed(3))
NETWORKS = dict(mlp=(mlp, X), vit=(vit, PICTURES), encoder=(encoder, TOKENS))


@pytest.mark.parametrize('kind', NETWORKS)
def test_it_starts_as_the_network_and_can_be_put_back(kind):
    make, x = NETWORKS[kind]
    network = make().eval()
    with torch.no_grad():
        expected = network(x)
        model = mtpeft.adapt(network, dict(type='lora', rank=2))
        torch.testing.assert_close(model(x), expected)
        stir(model)
        moved = model(x)
        assert not torch.allclose(moved, expected, atol=1e-2)
        with model.disable_adapter():
            frozen = model(x)
        torch.testing.assert_close(frozen, expected)
        assert kind == 'encoder' or torch.equal(frozen, expected)
        model.merge_adapters()
        torch.testing.assert_close(model(x), moved, rtol=1e-4, atol=1e-4)
        model.unmerge_adapters()
        assert torch.equal(model(x), moved)


def test_an_encoder_gives_the_same_with_and_without_gradients():
    """torch's fast path of inference reads the weights of layers past their adapters."""
    mask = torch.zeros(3, 6, dtype=torch.bool)
    mask[0, 4:] = True
    for options in (dict(), dict(norm_first=True), dict(activation='gelu')):
        model = mtpeft.adapt(encoder(**options), dict(type='LoRA', rank=2))
        stir(model)
        model.eval()
        for extra in (dict(), dict(src_key_padding_mask=mask)):
            with_grad = model(TOKENS, **extra)
            with torch.no_grad():
                without = model(TOKENS, **extra)
            torch.testing.assert_close(without[~mask], with_grad[~mask])


def test_training_changes_what_is_to_be_trained():
    network = vit()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    model = mtpeft.adapt(network, dict(type='LoRA', rank=2), train_also=['head'])
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5)
    for _ in range(2):
        loss = nn.functional.cross_entropy(model(PICTURES), torch.tensor([1, 2]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = {k.removeprefix('network.'): v for k, v in model.state_dict().items()}
    changed = {k for k, v in before.items() if not torch.equal(after[k], v)}
    assert changed == {'head.weight', 'head.bias'}
    trained = model.adapter_state_dict()
    own = {k for k in trained if '.adapter.' in k}
    assert set(trained) == own | {'network.head.weight', 'network.head.bias'}
    expected = model.eval()(PICTURES)
    again = mtpeft.adapt(vit(), dict(type='LoRA', rank=2), train_also=['head']).eval()
    again.load_state_dict(trained)
    assert torch.equal(again(PICTURES), expected)
    with torch.no_grad(), model.disable_adapter():
        assert torch.equal(model(PICTURES), vit().eval()(PICTURES))


@pytest.mark.parametrize(
    'method',
    [dict(type='LoRA', rank=2), dict(type='DoRA', rank=2), dict(type='HyperFormer')],
    ids=label,
)
def test_adapters_are_where_the_network_is(method):
    network = mlp().to('meta')
    model = mtpeft.adapt(network, method, tasks=['a', 'b'])
    assert {t.device.type for t in model.state_dict().values()} == {'meta'}
    backbone = AdapterBackbone(vit(num_classes=0).to('meta'), [dict(cfg=method, targets=['fc1'])])
    assert {t.device.type for t in backbone.state_dict().values()} == {'meta'}


def test_norms_keep_their_statistics():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1))
    model = mtpeft.adapt(network, dict(type='LoRA', rank=1)).train()
    model(torch.randn(2, 3, 8, 8) + 5)
    assert network[1].running_mean.abs().max() == 0 and model.adapted == ['0', '2']


# -- tasks -----------------------------------------------------------------------------------------


def needs_shared_stream(method):
    try:
        adapt_layer(nn.Linear(12, 16), method, TASKS).adapter.without_shared()
    except ValueError:
        return True
    return False


@pytest.mark.parametrize('method', methods(), ids=label)
def test_each_task_has_adapters_of_its_own(method):
    network = mlp()
    if needs_shared_stream(method):
        with pytest.raises(ValueError, match="'0': lanes of .* read a shared stream"):
            mtpeft.adapt(network, method, tasks=TASKS)
        return
    expected = network(X)
    model = mtpeft.adapt(network, method, tasks=TASKS).eval()
    stir(model)
    with torch.no_grad():
        out = model(X)
        assert list(out) == list(TASKS)
        assert not torch.allclose(out['semseg'], out['depth'], atol=1e-4)
        assert all(torch.equal(model(X, tasks=[t])[t], out[t]) for t in TASKS)
        with model.disable_adapter():
            assert torch.equal(model(X), expected)
        model.merge_adapters()
        for task, merged in model(X).items():
            torch.testing.assert_close(merged, out[task], rtol=1e-4, atol=1e-4)
        model.unmerge_adapters()
    sum(x.square().sum() for x in model(X).values()).backward()
    layers = model.adapter_layers()
    assert set(layers) == {'0', '2'}
    assert all(p.grad is not None for la in layers.values() for p in la.adapter.parameters()
               if p.requires_grad)  # fmt: skip


def test_tasks_need_lanes():
    with pytest.raises(ValueError, match='no adapter differs between tasks'):
        mtpeft.adapt(mlp(), dict(type='LoRA', rank=2, lanes='shared'), tasks=['a', 'b'])


# -- where adapters go -----------------------------------------------------------------------------


def test_where_adapters_go_where_nothing_is_said():
    assert default_targets(vit()) == ['qkv', 'proj', 'fc1', 'fc2']
    assert default_targets(mlp()) == ['re:0', 're:2']
    resnet = timm.create_model('resnet10t', num_classes=5)
    model = mtpeft.adapt(resnet, dict(type='LoRA', rank=1))
    assert 'fc' not in model.adapted and 'layer1.0.conv1' in model.adapted
    with pytest.raises(ValueError, match='ReLU has no Linear layer'):
        mtpeft.adapt(nn.ReLU())


@pytest.mark.parametrize(('options', 'error', 'message'), [
    (dict(plugins='lorra'), KeyError, "'lorra' is no adapter.*'LoRA'"),
    (dict(plugins=dict(type='LoRA', rnk=2)), TypeError, "no option 'rnk'.*'rank'"),
    (dict(plugins=dict(type='LoRA', rank=99)), ValueError, "layer '0'.*from 1 to 12"),
    (dict(plugins=dict(type='LoRA', rank=2, targets=['fc1'])), ValueError, "'fc1' matches no"),
    (dict(plugins=dict(type='LoRA', rank=2), train_also=['heads']), ValueError, "'heads' matches"),
    (dict(num_classes=3), TypeError, 'options of timm'),
])  # fmt: skip
def test_what_does_not_fit_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        mtpeft.adapt(mlp(), **options)


def test_layers_that_nobody_calls_are_refused_or_told():
    with pytest.raises(ValueError, match='MultiheadAttention, which reads its weight'):
        mtpeft.adapt(encoder(), dict(type='LoRA', rank=2, targets=['out_proj']))

    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = nn.Linear(12, 12), nn.Linear(12, 12)

        def forward(self, x):
            return self.used(x)

    model = mtpeft.adapt(Half(), dict(type='LoRA', rank=2))
    with pytest.warns(UserWarning, match='Adapters of idle had no effect'):
        model(X)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        model(X)
        mtpeft.adapt(mlp(), dict(type='LoRA', rank=2))(X)


# -- files -----------------------------------------------------------------------------------------


def test_a_file_of_adapters_for_a_network_of_ones_own(tmp_path):
    model = mtpeft.adapt(mlp(), dict(type='DoRA', rank=2), tasks=['a', 'b'])
    stir(model)
    expected = model.eval()(X)
    model.save_pretrained(tmp_path)
    again = from_pretrained(tmp_path, base=mlp())
    assert all(torch.equal(again(X)[t], expected[t]) for t in 'ab')
    with pytest.raises(ValueError, match=r'network of your own.*base=network'):
        from_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match='another base'):
        from_pretrained(tmp_path, base=mlp(seed=1))
    assert 'base=network' in (tmp_path / 'README.md').read_text()


def test_a_file_of_a_named_network(tmp_path):
    small = dict(embed_dim=24, depth=2, num_heads=2)
    model = mtpeft.adapt('vit_tiny_patch16_224', dict(type='LoRA', rank=2), pretrained=False,
                         num_classes=3, **small)  # fmt: skip
    assert model.network.head.weight.requires_grad
    stir(model)
    model.save_pretrained(tmp_path)
    assert torch.equal(from_pretrained(tmp_path)(PICTURES), model.eval()(PICTURES))
    with pytest.raises(KeyError, match="no model 'vit_tyni"):
        mtpeft.adapt('vit_tyni_patch16_224')
    with pytest.raises(PretrainedWeightsError, match='could not be fetched'):
        mtpeft.adapt('vit_tiny_patch16_224')


def test_one_set_of_adapters():
    model = mtpeft.adapt(mlp(), dict(type='LoRA', rank=2))
    with pytest.raises(ValueError, match='one set of adapters'):
        model.load_adapter('other', 'folder')
    assert isinstance(model, AdaptedNetwork)


# -- dense models ----------------------------------------------------------------------------------


def test_a_backbone_takes_a_live_network():
    options = dict(num_classes=0, dynamic_img_size=True, depth=4)
    network = vit(**options).eval()
    plugins = [dict(cfg=dict(type='LoRA', rank=2), targets=['qkv'])]
    backbone = AdapterBackbone(network=network, plugins=plugins, train_also=['block_norms'])
    assert backbone.network is network
    assert network.blocks[0].attn.qkv.weight.requires_grad is False
    stir(backbone)
    with torch.no_grad():
        network.blocks[0].norm1.weight.add_(1)
    with torch.no_grad():
        moved = backbone(PICTURES)
    model = MultiTaskModel(
        tasks=['depth'], backbone=backbone, necks=[dict(type='ProjectionNeck')],
        decoder=dict(type='MultiHeadDecoder', head=dict(type='HRNetHead', channels=4)),
    ).eval()  # fmt: skip
    plain = AdapterBackbone(vit(**options)).eval()
    with torch.no_grad():
        assert all(map(torch.equal, model.backbone(PICTURES), moved))
        with model.disable_adapter():
            frozen = model.adapter_model().backbone(PICTURES)
        assert all(map(torch.equal, frozen, plain(PICTURES)))
        assert all(map(torch.equal, model.backbone(PICTURES), moved))
    assert any(p.requires_grad for p in model.backbone.parameters())
    for wrong in ({}, dict(backbone=network, network=network), dict(network=dict(type='timm.a'))):
        with pytest.raises(TypeError, match='or network= with a network that is there, got'):
            AdapterBackbone(**wrong)
