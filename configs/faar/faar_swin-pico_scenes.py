_base_ = [
    '../_base_/models/swin-pico.py',
    '../_base_/datasets/scenes_mt.py',
    '../_base_/schedules/scenes_short.py',
    '../_base_/default_runtime.py',
]

# FAAR: DoRA from rank 16, PDRS with rho .95, TS-PD with XT-Cons.
# A short run shrinks 15 times within its first third and trains on at the small ranks, as the
# paper's long one does.
model = dict(
    tasks={{_base_.tasks}},
    img_size={{_base_.size}},
    backbone=dict(
        plugins=[
            dict(cfg=dict(type='DoRA', rank=16), targets=['qkv', 'reduction']),
            dict(
                cfg=dict(type='DoRA', rank=16),
                targets=['proj', 'fc1', 'fc2'],
                lanes='task',
            ),
        ],
    ),
    necks=[dict(type='ProjectionNeck', out_channels=(12, 16, 24, 32)), dict(type='TSPD')],
)
default_hooks = dict(pdrs=dict(type='PDRSHook', rho=0.95, shrinks=15))
