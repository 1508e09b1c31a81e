_base_ = [
    '../_base_/models/swin-t.py',
    '../_base_/datasets/pascal_context_mt.py',
    '../_base_/schedules/faar_300e.py',
    '../_base_/default_runtime.py',
]

# FAAR as printed (arXiv 2603.20403): DoRA from rank 64, PDRS with rho .95, TS-PD with XT-Cons.
model = dict(
    tasks={{_base_.tasks}},
    img_size={{_base_.size}},
    backbone=dict(
        plugins=[
            dict(cfg=dict(type='DoRA', rank=64), targets=['qkv', 'reduction']),
            dict(
                cfg=dict(type='DoRA', rank=64),
                targets=['proj', 'fc1', 'fc2'],
                lanes='task',
            ),
        ],
    ),
    necks=[dict(type='ProjectionNeck', out_channels=(18, 36, 72, 144)), dict(type='TSPD')],
)
default_hooks = dict(pdrs=dict(type='PDRSHook', rho=0.95))
