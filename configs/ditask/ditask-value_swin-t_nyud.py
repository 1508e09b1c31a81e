# DiTASK as its paper's formula has it: the flow moves the singular values, not their positions.
_base_ = './ditask_swin-t_nyud.py'
model = dict(
    backbone=dict(
        plugins=dict(shared=dict(cfg=dict(warp='value')), lanes=dict(cfg=dict(warp='value')))
    )
)
