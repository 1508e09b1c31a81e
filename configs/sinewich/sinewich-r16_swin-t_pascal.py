_base_ = [
    '../_base_/models/swin-t.py',
    '../_base_/datasets/pascal_context_mt.py',
    '../_base_/schedules/mtlora_300e.py',
    '../_base_/default_runtime.py',
]

# Free Sinewich (arXiv 2603.21111) at rank 16: LoRA for all tasks; beside the last block of
# each stage lies the base of one convolution for all tasks, and so in the heads, switched by
# frequencies.
# The paper gives no recipe beyond that of prior work: schedule, data and losses are MTLoRA's.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(cfg=dict(type='LoRA', rank=16), targets=['qkv', 'proj', 'fc1', 'fc2']),
            dict(cfg=dict(type='SineAWB', rank=16), targets=['block'], lanes='task'),
        ],
        clock=dict(tokens='prepend'),
    ),
    decoder=dict(_delete_=True, type='SharedBaseDecoder'),
)
default_hooks = dict(frequencies=dict(type='FrequencyHook'))
