_base_ = [
    '../_base_/models/swin-pico.py',
    '../_base_/datasets/scenes_mt.py',
    '../_base_/schedules/scenes_short.py',
    '../_base_/default_runtime.py',
]

# VPT-deep: prompts of every block are trained, with projections and heads; nothing else.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(train_also=[], prompts=dict(number=10, deep=True)),
)
