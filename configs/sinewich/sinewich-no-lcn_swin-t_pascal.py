_base_ = [
    '../_base_/models/swin-t.py',
    '../_base_/datasets/pascal_context_mt.py',
    '../_base_/schedules/mtlora_300e.py',
    '../_base_/default_runtime.py',
]

# Ablation "w/o LCN": each task learns its frequency itself, without Clock Net; task tokens still go
# through the network.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(cfg=dict(type='LoRA', rank=64), targets=['qkv', 'proj', 'fc1', 'fc2']),
            dict(cfg=dict(type='SineAWB', rank=64), targets=['block'], lanes='task'),
        ],
        clock=dict(tokens='prepend', lcn=False),
    ),
    decoder=dict(_delete_=True, type='SharedBaseDecoder'),
)
default_hooks = dict(frequencies=dict(type='FrequencyHook'))
