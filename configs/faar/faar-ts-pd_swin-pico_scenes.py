_base_ = [
    '../_base_/models/swin-pico.py',
    '../_base_/datasets/scenes_mt.py',
    '../_base_/schedules/scenes_short.py',
    '../_base_/default_runtime.py',
]

# Ablation "+ TS-PD": MTLoRA with the spectral decoder before its heads.
model = dict(
    tasks={{_base_.tasks}},
    img_size={{_base_.size}},
    backbone=dict(
        plugins=[
            dict(cfg=dict(type='MTLoRA', rank=8), targets=['qkv']),
            dict(
                cfg=dict(type='MTLoRA', rank=8, task_rank=4),
                targets=['proj', 'fc1', 'fc2'],
                lanes='task',
            ),
        ],
        train_also=['patch_embed', 'block_norms', 'relative_position_bias_table', 'reduction'],
    ),
    necks=[dict(type='ProjectionNeck', out_channels=(12, 16, 24, 32)), dict(type='TSPD')],
)
