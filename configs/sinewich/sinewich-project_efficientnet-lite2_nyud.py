_base_ = [
    '../_base_/models/efficientnet-lite2.py',
    '../_base_/datasets/nyud_mt_small.py',
    '../_base_/schedules/nyud_short.py',
    '../_base_/default_runtime.py',
]

# Ours: the kernel of 3 beside the projection of the last blocks instead of beside the blocks, from
# the expanded width.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(cfg=dict(type='LoRA', rank=16), targets=['expand']),
            dict(cfg=dict(type='SineAWB', rank=16), targets=['project'], lanes='task'),
        ],
        clock=dict(tokens='free'),
    ),
    decoder=dict(_delete_=True, type='SharedBaseDecoder', channels=270),
)
default_hooks = dict(frequencies=dict(type='FrequencyHook'))
