_base_ = [
    '../_base_/models/swin-pico.py',
    '../_base_/datasets/scenes_mt.py',
    '../_base_/schedules/scenes_short.py',
    '../_base_/default_runtime.py',
]

# Ablation "Independent Decoder": an HRNet head for each task, that of the base config.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(cfg=dict(type='LoRA', rank=16), targets=['qkv', 'proj', 'fc1', 'fc2']),
            dict(cfg=dict(type='SineAWB', rank=16), targets=['block'], lanes='task'),
        ],
        clock=dict(tokens='prepend'),
    ),
)
default_hooks = dict(frequencies=dict(type='FrequencyHook'))
