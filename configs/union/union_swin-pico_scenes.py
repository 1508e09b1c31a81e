_base_ = [
    '../_base_/models/swin-pico.py',
    '../_base_/datasets/scenes_mt.py',
    '../_base_/schedules/scenes_short.py',
    '../_base_/default_runtime.py',
]

# FAAR and Free Sinewich together: PDRS shrinks the ranks of the base that tasks share and of the
# shared paths, and TS-PD comes before the heads with one base. A short run shrinks 15 times within
# its first third.
model = dict(
    tasks={{_base_.tasks}},
    img_size={{_base_.size}},
    backbone=dict(
        plugins=[
            dict(cfg=dict(type='LoRA', rank=16), targets=['qkv', 'proj', 'fc1', 'fc2']),
            dict(cfg=dict(type='SineAWB', rank=16), targets=['block'], lanes='task'),
        ],
        clock=dict(tokens='prepend'),
    ),
    necks=[dict(type='ProjectionNeck', out_channels=(12, 16, 24, 32)), dict(type='TSPD')],
    decoder=dict(_delete_=True, type='SharedBaseDecoder', channels=96),
)
default_hooks = dict(
    pdrs=dict(type='PDRSHook', rho=0.95, shrinks=15),
    frequencies=dict(type='FrequencyHook'),
)
