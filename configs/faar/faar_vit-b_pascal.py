_base_ = [
    '../_base_/models/vit-b.py',
    '../_base_/datasets/pascal_context_mt.py',
    '../_base_/schedules/faar_300e.py',
    '../_base_/default_runtime.py',
]

# FAAR on a ViT-B/16; a pyramid is made of its four levels, all at stride 16.
model = dict(
    tasks={{_base_.tasks}},
    img_size={{_base_.size}},
    backbone=dict(
        plugins=[
            dict(cfg=dict(type='DoRA', rank=64), targets=['qkv']),
            dict(cfg=dict(type='DoRA', rank=64), targets=['proj', 'fc1', 'fc2'], lanes='task'),
        ],
    ),
    necks=[
        dict(type='RescaleNeck', scales=(4, 2, 1, 0.5)),
        dict(type='ProjectionNeck', out_channels=(18, 36, 72, 144)),
        dict(type='TSPD'),
    ],
)
default_hooks = dict(pdrs=dict(type='PDRSHook', rho=0.95))
