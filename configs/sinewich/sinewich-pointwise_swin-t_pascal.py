_base_ = [
    '../_base_/models/swin-t.py',
    '../_base_/datasets/pascal_context_mt.py',
    '../_base_/schedules/mtlora_300e.py',
    '../_base_/default_runtime.py',
]

# Ablation of the kernel: W is a diagonal, a weight for each component, so no task sees the
# neighbours of a pixel. The base lies in fc2, into which lanes can be merged.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(cfg=dict(type='LoRA', rank=64), targets=['qkv', 'proj', 'fc1']),
            dict(
                cfg=dict(type='SineAWB', rank=64, kernel_size=None), targets=['fc2'], lanes='task'
            ),
        ],
        clock=dict(tokens='prepend'),
    ),
    decoder=dict(_delete_=True, type='SharedBaseDecoder'),
)
default_hooks = dict(frequencies=dict(type='FrequencyHook'))
