_base_ = [
    '../_base_/models/swin-pico.py',
    '../_base_/datasets/scenes_mt.py',
    '../_base_/schedules/scenes_short.py',
    '../_base_/default_runtime.py',
]

# Ablation "Independent Base": adapters with a base for each task; the heads still share theirs.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(cfg=dict(type='LoRA', rank=16), targets=['qkv', 'proj', 'fc1', 'fc2']),
            dict(
                cfg=dict(type='SineAWB', rank=16, base='independent'),
                targets=['block'],
                lanes='task',
            ),
        ],
        clock=dict(tokens='prepend'),
    ),
    decoder=dict(_delete_=True, type='SharedBaseDecoder', channels=96),
)
default_hooks = dict(frequencies=dict(type='FrequencyHook'))
