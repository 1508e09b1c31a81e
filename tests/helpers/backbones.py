"""Small backbones of every family, for tests."""

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
    'timm EfficientNet': dict(type='timm.tf_efficientnet_lite0'),
}
MLP = {
    'timm Swin': ['fc1', 'fc2'],
    'mmseg Swin': ['fc1', 'fc2'],
    'timm EfficientNet': ['project'],
}
FIRST = {
    'timm Swin': ['qkv'],
    'mmseg Swin': ['qkv'],
    'timm EfficientNet': ['re:blocks.[1-9].*conv_pw'],
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
    return AdapterBackbone(TINY[family], plugins=plugins, tasks=tasks, **options)
