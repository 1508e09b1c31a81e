"""Networks without a family table, and what is asked of a network whatever its family."""

import pytest
import timm
import torch
from helpers.adapter_grid import stir
from timm.models.beit import checkpoint_filter_fn
from torch import nn

from mtpeft.models.backbones import AdapterBackbone
from mtpeft.models.backbones.families import GenericFamily

TASKS = ('semseg', 'depth')
SMALL = dict(depth=4, embed_dim=24, num_heads=2)
UNLISTED = {  # architecture -> options, and layers that can be adapted
    'regnetx_002': ({}, ['conv1.conv']),
    'swinv2_cr_tiny_224': (
        dict(embed_dim=24, depths=(1, 1, 2, 1), num_heads=(1, 1, 2, 2)),
        ['attn.qkv', 'mlp.fc1'],
    ),
    'xcit_nano_12_p16_224': (dict(depth=2), ['re:blocks.*attn.qkv', 're:blocks.*mlp.fc2']),
}


RANK = dict.fromkeys(('LoRA', 'DoRA', 'SineLoRA'), dict(rank=2))


def build(name, method='LoRA', targets=None, **options):
    known, layers = UNLISTED.get(name, ({}, ['attn.qkv']))
    given = {k: options.pop(k) for k in ('with_cp', 'tasks') if k in options}
    plugins = [dict(cfg=dict(type=method, **RANK.get(method, {})), targets=targets or layers)]
    cfg = dict(type=f'timm.{name}', **{**known, **options})
    model = AdapterBackbone(cfg, plugins=plugins, **given)
    stir(model, 0.05)
    return model


def kept_and_gradients(model, x):
    """Numbers kept for the backward pass, and the gradients of what is trained."""
    sizes = []

    def note(x):
        sizes.append(x.numel())
        return x

    with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
        levels = model(x)
    model.zero_grad()
    sum((level**2).sum() for level in levels).backward()
    grads = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
    return sum(sizes), grads


@pytest.mark.parametrize(
    ('name', 'method'),
    [
        *((name, 'LoRA') for name in UNLISTED),
        *(('swinv2_cr_tiny_224', method) for method in ('DoRA', 'DiTASK', 'SineLoRA')),
    ],
)
def test_recomputation_saves_memory_and_changes_no_gradient(name, method):
    torch.manual_seed(0)
    model = build(name, method).eval()
    x = torch.randn(2, 3, 64, 96)
    sizes, expected = kept_and_gradients(model, x)
    model.with_cp = True
    fewer, grads = kept_and_gradients(model, x)
    assert fewer < 0.9 * sizes
    assert grads.keys() == expected.keys() and all(g is not None for g in grads.values())
    torch.testing.assert_close(grads, expected)
    model.with_cp = False
    assert kept_and_gradients(model, x)[0] == sizes


def test_a_network_that_cannot_recompute_refuses():
    model = build('regnetx_002')
    model.network.set_grad_checkpointing = lambda enable: None
    with pytest.raises(ValueError, match='with_cp=True: RegNet.*keeps as much as before'):
        model.with_cp = True
    assert model.with_cp is False
    with pytest.raises(ValueError, match='with_cp=True: Twins.*says: .*not supported'):
        build('twins_svt_small', targets=['attn.proj'], depths=(1, 1, 1, 1), with_cp=True)
    # mmseg's have no such switch
    unet = dict(type='mmseg.UNet', base_channels=4)
    with pytest.raises(ValueError, match="UNet.*no set_grad_checkpointing.*'with_cp' of its own"):
        AdapterBackbone(unet, with_cp=True)


def test_maps_with_channels_last_are_turned():
    options = dict(embed_dim=24, depths=(1, 1, 1, 1), num_heads=(1, 2, 2, 4), features_only=True)
    model = build('swin_tiny_patch4_window7_224', **options).eval()
    stock = timm.create_model(
        'swin_tiny_patch4_window7_224', strict_img_size=False, always_partition=True, **options
    ).eval()
    stock.load_state_dict(model.merged_state_dict(), strict=False)
    assert model.out_channels == (24, 48, 96, 192) and model.strides == (4, 8, 16, 32)
    # as many channels as columns: only the network can tell which is which
    for size in ((64, 96), (96, 96), (192, 768)):
        x = torch.randn(1, 3, *size)
        with torch.no_grad():
            levels, theirs = model(x), stock(x)
        for level, other in zip(levels, theirs, strict=True):
            torch.testing.assert_close(level, other.permute(0, 3, 1, 2), rtol=1e-4, atol=1e-4)


def test_levels_that_are_no_maps_are_refused():
    network = nn.Linear(2, 2)
    network.forward_intermediates = lambda x, intermediates_only: [torch.zeros(1, 4, 8)]
    with pytest.raises(ValueError, match=r'Linear gives no maps .*got \(1, 4, 8\)'):
        GenericFamily(network)


def test_adapters_that_no_level_passes_are_refused():
    # the class token attends once more behind the levels
    with pytest.raises(ValueError, match='cls_attn_blocks.0.mlp.fc2.*no effect: Xcit'):
        build('xcit_nano_12_p16_224', targets=['mlp.fc2'])


OWN_SIZE = {  # they follow the picture, whatever module of timm they come from
    'deit_tiny_patch16_224': {},
    'deit_tiny_distilled_patch16_224': {},
    'deit3_small_patch16_224': {},
    'vit_small_patch14_dinov2': {},
    'eva02_tiny_patch14_224': {},
    'vit_small_patch16_dinov3': {},
    'swinv2_cr_tiny_224': dict(embed_dim=24, depths=(1, 1, 2, 1), num_heads=(1, 1, 2, 2)),
    'vit_tiny_r_s16_p8_224': dict(depth=4, embed_dim=24, num_heads=2),
}


def stock_levels(model, name, x, **options):
    """Levels of timm's own network with the merged weights of ``model``."""
    stock = timm.create_model(name, num_classes=0, **options).eval()
    stock.load_state_dict(model.merged_state_dict())
    return stock.forward_intermediates(x, intermediates_only=True)[-4:]


@pytest.mark.parametrize('name', OWN_SIZE)
def test_options_go_by_class(name):
    options = OWN_SIZE[name] or SMALL
    model = build(name, **options).eval()
    x = torch.randn(1, 3, 224, 448)
    with torch.no_grad():
        levels = model(x)
        expected = stock_levels(model, name, x, dynamic_img_size=True, **options)
    for level, stride, other in zip(levels, model.strides, expected, strict=True):
        assert level.shape[2:] == (224 // stride, 448 // stride)
        torch.testing.assert_close(level, other, rtol=1e-4, atol=1e-4)


ONE_SIZE = {
    'vit_relpos_small_patch16_224': SMALL,
    'maxvit_rmlp_pico_rw_256': {},
}


@pytest.mark.parametrize('name', ONE_SIZE)
def test_a_network_of_one_size_names_the_option(name):
    options, targets = ONE_SIZE[name], ['attn.qkv', 're:stages.0.*attn.*qkv']
    targets = targets[1:] if name.startswith('maxvit') else targets[:1]
    x = torch.randn(1, 3, 64, 128)
    model = build(name, targets=targets, **options).eval()
    kind = type(model.network).__name__
    with pytest.raises(
        ValueError, match=rf'{kind} was built for .* 64 x 128.*img_size=\(64, 128\)'
    ):
        model(x)
    size = (128, 256)
    model = build(name, targets=targets, img_size=size, **options).eval()
    x = torch.randn(1, 3, *size)
    with torch.no_grad():
        levels, expected = model(x), stock_levels(model, name, x, img_size=size, **options)
    for level, other in zip(levels, expected, strict=True):
        torch.testing.assert_close(level, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('shared', [False, True], ids=['own', 'shared'])
def test_positions_of_beit_follow_the_picture_as_timm_resizes_them(shared):
    """One bias a block, or one for all of them; and a table of places beside it."""
    options = dict(SMALL, use_rel_pos_bias=not shared, use_shared_rel_pos_bias=shared,
                   use_abs_pos_emb=True)  # fmt: skip
    name, size = 'beit_base_patch16_224', (64, 96)
    model = build(name, img_size=128, **options).eval()
    for key, parameter in model.network.named_parameters():
        if key.endswith(('table', 'pos_embed')):
            nn.init.normal_(parameter)
    stock = timm.create_model(name, num_classes=0, img_size=size, **options).eval()
    weights = checkpoint_filter_fn(dict(model.merged_state_dict()), stock)
    stock.load_state_dict(weights, strict=False)
    x = torch.randn(1, 3, *size)
    with torch.no_grad():
        levels, expected = model(x), stock.forward_intermediates(x, intermediates_only=True)
    for level, other in zip(levels, expected, strict=True):
        torch.testing.assert_close(level, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('name', ['hiera_small_abswin_256', 'hiera_tiny_224'])
def test_hiera_takes_pictures_of_any_size(name):
    options = dict(embed_dim=8, stages=(1, 2, 2, 1))
    size = (96, 128) if 'abswin' in name else (128, 64)
    own = 224 if 'abswin' in name else size  # plain tables of places belong to one size
    model = build(name, img_size=own, **options).eval()
    stock = timm.create_model(name, num_classes=0, img_size=size, **options).eval()
    stock.load_state_dict(model.merged_state_dict())
    x = torch.randn(1, 3, *size)
    with torch.no_grad():
        levels, expected = model(x), stock.forward_intermediates(x, intermediates_only=True)
        assert model(torch.zeros(1, 3, 96, 160))[3].shape[2:] == (3, 5)
    for level, other in zip(levels, expected, strict=True):
        torch.testing.assert_close(level, other, rtol=1e-4, atol=1e-4)


def test_options_of_the_user_come_first():
    options = dict(SMALL, dynamic_img_size=True)
    network = build('vit_tiny_patch16_224', **options, num_classes=7).network
    assert network.dynamic_img_size and network.num_classes == 7
    model = build('vit_tiny_patch16_224', **SMALL, dynamic_img_size=False, img_size=64)
    assert model(torch.zeros(1, 3, 64, 64))[0].shape[2:] == (4, 4)
    with pytest.raises(ValueError, match=r'built for pictures of 64 x 64 .*img_size=\(64, 128\)'):
        model(torch.zeros(1, 3, 64, 128))
