_base_ = [
    '../_base_/models/swin-pico.py',
    '../_base_/datasets/scenes_mt.py',
    '../_base_/schedules/scenes_short.py',
    '../_base_/default_runtime.py',
]

# The low-pass in full for the first convolution of the heads too, instead of a learnt share of it.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(cfg=dict(type='LoRA', rank=16), targets=['qkv', 'proj', 'fc1', 'fc2']),
            dict(cfg=dict(type='SineAWB', rank=16), targets=['block'], lanes='task'),
        ],
        clock=dict(tokens='prepend'),
    ),
    decoder=dict(_delete_=True, type='SharedBaseDecoder', channels=96, lowpass=True),
)
default_hooks = dict(frequencies=dict(type='FrequencyHook'))
