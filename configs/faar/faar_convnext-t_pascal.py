_base_ = [
    '../_base_/models/convnext-t.py',
    '../_base_/datasets/pascal_context_mt.py',
    '../_base_/schedules/faar_300e.py',
    '../_base_/default_runtime.py',
]

# FAAR on a ConvNeXt-T: the two pointwise layers of a block instead of attention.
model = dict(
    tasks={{_base_.tasks}},
    img_size={{_base_.size}},
    backbone=dict(
        plugins=[
            dict(cfg=dict(type='DoRA', rank=64), targets=['reduction']),
            dict(cfg=dict(type='DoRA', rank=64), targets=['fc1', 'fc2'], lanes='task'),
        ],
    ),
    necks=[dict(type='ProjectionNeck', out_channels=(18, 36, 72, 144)), dict(type='TSPD')],
)
default_hooks = dict(pdrs=dict(type='PDRSHook', rho=0.95))
