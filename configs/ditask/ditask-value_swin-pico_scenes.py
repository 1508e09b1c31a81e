# DiTASK as its paper's formula has it: the flow moves the singular values, not their positions.
_base_ = './ditask_swin-pico_scenes.py'
model = dict(
    backbone=dict(
        plugins=dict(shared=dict(cfg=dict(warp='value')), lanes=dict(cfg=dict(warp='value')))
    )
)
