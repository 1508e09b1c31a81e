_base_ = [
    '../_base_/models/vit-b.py',
    '../_base_/datasets/pascal_context_mt.py',
    '../_base_/schedules/mtlora_300e.py',
    '../_base_/default_runtime.py',
]

# Free Sinewich on a ViT-B/16 (the paper stops at Swin-T): the task tokens are tokens of its
# sequence. A pyramid is made of its four levels, all at stride 16.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(cfg=dict(type='LoRA', rank=64), targets=['qkv', 'proj', 'fc1', 'fc2']),
            dict(cfg=dict(type='SineAWB', rank=64), targets=['block'], lanes='task'),
        ],
        clock=dict(tokens='prepend'),
    ),
    necks=[
        dict(type='RescaleNeck', scales=(4, 2, 1, 0.5)),
        dict(type='ProjectionNeck', out_channels=(18, 36, 72, 144)),
    ],
    decoder=dict(_delete_=True, type='SharedBaseDecoder'),
)
default_hooks = dict(frequencies=dict(type='FrequencyHook'))
