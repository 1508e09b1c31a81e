_base_ = [
    '../_base_/models/swin-t.py',
    '../_base_/datasets/pascal_context_mt.py',
    '../_base_/schedules/mtlora_300e.py',
    '../_base_/default_runtime.py',
]

# VPT-shallow: prompts before the first block are trained, with projections and heads; nothing else.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(train_also=[], prompts=dict(number=50, deep=False)),
)
