_base_ = [
    '../_base_/models/efficientnet-lite2.py',
    '../_base_/datasets/nyud_mt_small.py',
    '../_base_/schedules/nyud_short.py',
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
            dict(cfg=dict(type='DoRA', rank=16), targets=['expand']),
            dict(
                cfg=dict(type='DoRA', rank=16),
                targets=['project'],
                lanes='task',
            ),
        ],
    ),
    necks=[dict(type='ProjectionNeck', out_channels=(18, 36, 72, 144)), dict(type='TSPD')],
)
default_hooks = dict(pdrs=dict(type='PDRSHook', rho=0.95, shrinks=15))
