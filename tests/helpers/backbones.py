"""Small backbones of every family, for tests."""

import pytest
import torch

from mtpeft.models.backbones import AdapterBackbone

TINY = {
    'timm Swin': dict(
        type='timm.swin_tiny_patch4_window7_224',
        embed_dim=8,
        depths=(2, 2, 2, 2),
        num_heads=(1, 2, 2, 4),
    ),
    'mmseg Swin': dict(
        type='mmseg.SwinTransformer',
        embed_dims=8,
        depths=(2, 2, 2, 2),
        num_heads=(1, 2, 2, 4),
        drop_path_rate=0.1,
    ),
    'timm EfficientNet': dict(type='timm.tinynet_e', pad_type='same'),
    'timm MobileNet': dict(type='timm.mobilenetv3_small_050'),
    'timm Swin V2': dict(
        type='timm.swinv2_tiny_window8_256',
        embed_dim=8,
        depths=(2, 2, 2, 2),
        num_heads=(1, 2, 2, 4),
        window_size=7,
    ),
    'timm ViT': dict(type='timm.vit_tiny_patch16_224', embed_dim=24, depth=4, num_heads=2),
    'timm EVA': dict(
        type='timm.eva02_tiny_patch14_224', patch_size=16, embed_dim=24, depth=4, num_heads=2
    ),
    'timm DINOv3': dict(type='timm.vit_small_patch16_dinov3', embed_dim=32, depth=4, num_heads=2),
    'timm BEiT': dict(
        type='timm.beitv2_base_patch16_224',
        img_size=128,
        embed_dim=24,
        depth=4,
        num_heads=2,
        init_values=1.0,
    ),
    'timm Hiera': dict(type='timm.hiera_tiny_224', img_size=128, embed_dim=8, stages=(2, 2, 2, 2)),
    'timm PVT v2': dict(
        type='timm.pvt_v2_b0',
        embed_dims=(8, 16, 24, 32),
        num_heads=(1, 1, 2, 2),
    ),
    'timm ConvNeXt': dict(type='timm.convnext_tiny', depths=(2, 2, 2, 2), dims=(8, 12, 16, 24)),
    'mmseg MiT': dict(
        type='mmseg.MixVisionTransformer',
        embed_dims=8,
        num_layers=[2, 2, 2, 2],
        num_heads=[1, 1, 2, 2],
    ),
    'mmseg ResNet': dict(type='mmseg.ResNet', depth=50, base_channels=8, stem_channels=8),
}
_FC = ['fc1', 'fc2']
MLP = {
    'timm Swin': _FC,
    'mmseg Swin': _FC,
    'timm EfficientNet': ['project'],
    'timm MobileNet': ['project'],
    'timm Swin V2': _FC,
    'timm ViT': _FC,
    'timm EVA': _FC,
    'timm DINOv3': _FC,
    'timm BEiT': _FC,
    'timm Hiera': _FC,
    'timm PVT v2': _FC,
    'timm ConvNeXt': _FC,
    'mmseg MiT': _FC,
    'mmseg ResNet': ['conv3'],
}
FIRST = {
    'timm Swin': ['qkv'],
    'mmseg Swin': ['qkv'],
    'timm EfficientNet': ['re:blocks.[1-9].*conv_pw'],
    'timm MobileNet': ['re:blocks.[1-4].*conv_pw'],
    'timm Swin V2': ['qkv', 'proj'],
    'timm ViT': ['qkv', 'proj'],
    'timm EVA': ['qkv', 'proj'],
    'timm DINOv3': ['qkv', 'proj'],
    'timm BEiT': ['qkv', 'proj'],
    'timm Hiera': ['qkv', 'proj'],
    'timm PVT v2': ['qkv', 'sr', 'reduction'],
    'timm ConvNeXt': ['reduction'],
    'mmseg MiT': ['sr'],
    'mmseg ResNet': ['conv1', 'conv2'],
}
TASKS = ('semseg', 'depth', 'normals')


def tiny(family: str, method: dict | None = None, tasks=TASKS, **options) -> AdapterBackbone:
    """A small backbone whose last layers have lanes and whose first ones are shared."""
    method = method or dict(type='LoRA', rank=2)
    lanes = 'task' if tasks else 'shared'
    plugins = [
        dict(cfg=method, targets=FIRST[family]),
        dict(cfg=method, targets=MLP[family], lanes=lanes),
    ]
    try:
        backbone = AdapterBackbone(TINY[family], plugins=plugins, tasks=tasks, **options)
    except ValueError as error:
        if family == 'timm Hiera' and 'needs the map' in str(error):
            pytest.skip('layers of Hiera see no map, as the error says')
        raise
    wake(backbone.network)
    return backbone


def wake(network) -> None:
    """Let every branch count: Swin V2 starts its last norms, ConvNeXt its scales near 0."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith(('norm1.weight', 'norm2.weight', 'gamma', 'gamma_1', 'gamma_2')):
                parameter.fill_(1)
