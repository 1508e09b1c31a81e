_base_ = [
    '../_base_/models/efficientnet-lite2.py',
    '../_base_/datasets/nyud_mt_small.py',
    '../_base_/schedules/nyud_short.py',
    '../_base_/default_runtime.py',
]

# Free Sinewich (arXiv 2603.21111) at rank 16: LoRA for all tasks; beside the last block at
# each stride lies the base of one convolution for all tasks, and so in the heads, switched by
# frequencies.
# A CNN has no place for task tokens, so they are parameters beside it.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(cfg=dict(type='LoRA', rank=16), targets=['expand', 'project']),
            dict(cfg=dict(type='SineAWB', rank=16), targets=['block'], lanes='task'),
        ],
        clock=dict(tokens='free'),
    ),
    decoder=dict(_delete_=True, type='SharedBaseDecoder', channels=270),
)
default_hooks = dict(frequencies=dict(type='FrequencyHook'))
