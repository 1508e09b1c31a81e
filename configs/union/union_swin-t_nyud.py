_base_ = [
    '../_base_/models/swin-t.py',
    '../_base_/datasets/nyud_mt.py',
    '../_base_/schedules/mtlora_300e.py',
    '../_base_/default_runtime.py',
]

# FAAR and Free Sinewich together: PDRS shrinks the ranks of the base that tasks share and of the
# shared paths, and TS-PD comes before the heads with one base. The schedule is Free Sinewich's, not
# FAAR's, so that nothing but the two parts differs from it.
model = dict(
    tasks={{_base_.tasks}},
    img_size={{_base_.size}},
    backbone=dict(
        plugins=[
            dict(cfg=dict(type='LoRA', rank=64), targets=['qkv', 'proj', 'fc1', 'fc2']),
            dict(cfg=dict(type='SineAWB', rank=64), targets=['block'], lanes='task'),
        ],
        clock=dict(tokens='prepend'),
    ),
    necks=[dict(type='ProjectionNeck', out_channels=(18, 36, 72, 144)), dict(type='TSPD')],
    decoder=dict(_delete_=True, type='SharedBaseDecoder'),
)
default_hooks = dict(pdrs=dict(type='PDRSHook', rho=0.95), frequencies=dict(type='FrequencyHook'))
