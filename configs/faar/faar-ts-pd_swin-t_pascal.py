_base_ = [
    '../_base_/models/swin-t.py',
    '../_base_/datasets/pascal_context_mt.py',
    '../_base_/schedules/faar_300e.py',
    '../_base_/default_runtime.py',
]

# Ablation "+ TS-PD": MTLoRA with the spectral decoder before its heads.
model = dict(
    tasks={{_base_.tasks}},
    img_size={{_base_.size}},
    backbone=dict(
        plugins=[
            dict(cfg=dict(type='MTLoRA', rank=64), targets=['qkv']),
            dict(
                cfg=dict(type='MTLoRA', rank=64, task_rank=4),
                targets=['proj', 'fc1', 'fc2'],
                lanes='task',
            ),
        ],
        train_also=['patch_embed', 'block_norms', 'relative_position_bias_table', 'reduction'],
    ),
    necks=[dict(type='ProjectionNeck', out_channels=(18, 36, 72, 144)), dict(type='TSPD')],
)
