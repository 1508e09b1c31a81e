_base_ = [
    '../_base_/models/efficientnet-lite2.py',
    '../_base_/datasets/nyud_mt_small.py',
    '../_base_/schedules/nyud_short.py',
    '../_base_/default_runtime.py',
]

# Ablation "w/o LCN": each task learns its frequency itself, without Clock Net.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(cfg=dict(type='LoRA', rank=16), targets=['expand', 'project']),
            dict(cfg=dict(type='SineAWB', rank=16), targets=['block'], lanes='task'),
        ],
        clock=dict(tokens='free', lcn=False),
    ),
    decoder=dict(_delete_=True, type='SharedBaseDecoder', channels=270),
)
default_hooks = dict(frequencies=dict(type='FrequencyHook'))
