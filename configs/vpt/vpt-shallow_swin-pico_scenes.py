# VPT-shallow: prompts before the first block are trained, with projections and heads; nothing else.
_base_ = '../_base_/runs/swin-pico_scenes.py'
model = dict(backbone=dict(train_also=[], prompts=dict(number=10, deep=False)))
