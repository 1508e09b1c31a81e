_base_ = [
    '../_base_/models/efficientnet-lite2.py',
    '../_base_/datasets/nyud_mt_small.py',
    '../_base_/schedules/nyud_short.py',
    '../_base_/default_runtime.py',
]

# Ablation "w/o Sine", in the adapters and in the decoder: frequencies only scale the base.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(cfg=dict(type='LoRA', rank=16), targets=['expand', 'project']),
            dict(cfg=dict(type='SineAWB', rank=16, sine=False), targets=['block'], lanes='task'),
        ],
        clock=dict(tokens='free'),
    ),
    decoder=dict(_delete_=True, type='SharedBaseDecoder', channels=270, sine=False),
)
default_hooks = dict(frequencies=dict(type='FrequencyHook'))
