_base_ = [
    '../_base_/models/swin-pico.py',
    '../_base_/datasets/scenes_mt.py',
    '../_base_/schedules/scenes_short.py',
    '../_base_/default_runtime.py',
]

# Ablation of the kernel: W is a diagonal, a weight for each component, so no task sees the
# neighbours of a pixel. The base lies in fc2, into which lanes can be merged.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(cfg=dict(type='LoRA', rank=16), targets=['qkv', 'proj', 'fc1']),
            dict(
                cfg=dict(type='SineAWB', rank=16, kernel_size=None), targets=['fc2'], lanes='task'
            ),
        ],
        clock=dict(tokens='prepend'),
    ),
    decoder=dict(_delete_=True, type='SharedBaseDecoder', channels=96),
)
default_hooks = dict(frequencies=dict(type='FrequencyHook'))
