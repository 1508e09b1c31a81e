_base_ = [
    '../_base_/models/convnext-t.py',
    '../_base_/datasets/pascal_context_mt.py',
    '../_base_/schedules/mtlora_300e.py',
    '../_base_/default_runtime.py',
]

# Free Sinewich on a ConvNeXt-T (the paper stops at Swin-T). It has no attention, so task tokens are
# parameters beside it.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(cfg=dict(type='LoRA', rank=64), targets=['fc1', 'fc2']),
            dict(cfg=dict(type='SineAWB', rank=64), targets=['block'], lanes='task'),
        ],
        clock=dict(tokens='free'),
    ),
    decoder=dict(_delete_=True, type='SharedBaseDecoder'),
)
default_hooks = dict(frequencies=dict(type='FrequencyHook'))
