_base_ = [
    '../_base_/models/swin-pico.py',
    '../_base_/datasets/scenes_mt.py',
    '../_base_/schedules/scenes_short.py',
    '../_base_/default_runtime.py',
]

# Ours: the kernel of 3 beside fc2 of the last blocks instead of beside the blocks, from 4C to C
# channels.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(cfg=dict(type='LoRA', rank=16), targets=['qkv', 'proj', 'fc1']),
            dict(cfg=dict(type='SineAWB', rank=16), targets=['fc2'], lanes='task'),
        ],
        clock=dict(tokens='prepend'),
    ),
    decoder=dict(_delete_=True, type='SharedBaseDecoder', channels=96),
)
default_hooks = dict(frequencies=dict(type='FrequencyHook'))
