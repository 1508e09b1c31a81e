_base_ = [
    '../_base_/models/efficientnet-lite2.py',
    '../_base_/datasets/nyud_mt_small.py',
    '../_base_/schedules/nyud_short.py',
    '../_base_/default_runtime.py',
]

# Ablation "+ TS-PD": MTLoRA with the spectral decoder before its heads.
model = dict(
    tasks={{_base_.tasks}},
    img_size={{_base_.size}},
    backbone=dict(
        plugins=[
            dict(cfg=dict(type='MTLoRA', rank=16), targets=['expand']),
            dict(cfg=dict(type='MTLoRA', rank=16, task_rank=8), targets=['project'], lanes='task'),
        ],
    ),
    necks=[dict(type='ProjectionNeck', out_channels=(18, 36, 72, 144)), dict(type='TSPD')],
)
