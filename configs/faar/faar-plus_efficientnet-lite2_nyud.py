_base_ = [
    '../_base_/models/efficientnet-lite2.py',
    '../_base_/datasets/nyud_mt_small.py',
    '../_base_/schedules/nyud_short.py',
    '../_base_/default_runtime.py',
]

# faar+, our own step beyond FAAR: ranks shrink by what components are worth, until giving up more
# would cost more than 1 % of it; or, with `budget`, down to so many effective parameters
# (docs/methods/faar.md).
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
default_hooks = dict(pdrs=dict(type='PDRSPlusHook', eps=0.01, by_epoch=False, shrink_every=66))
