_base_ = [
    '../_base_/models/efficientnet-lite2.py',
    '../_base_/datasets/nyud_mt_small.py',
    '../_base_/schedules/nyud_short.py',
    '../_base_/default_runtime.py',
]

# The low-pass in full for the first convolution of the heads too, instead of a learnt share of it.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(cfg=dict(type='LoRA', rank=16), targets=['expand', 'project']),
            dict(cfg=dict(type='SineAWB', rank=16), targets=['block'], lanes='task'),
        ],
        clock=dict(tokens='free'),
    ),
    decoder=dict(_delete_=True, type='SharedBaseDecoder', channels=270, lowpass=True),
)
default_hooks = dict(frequencies=dict(type='FrequencyHook'))
