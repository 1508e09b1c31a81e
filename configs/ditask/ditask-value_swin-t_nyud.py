_base_ = [
    '../_base_/models/swin-t.py',
    '../_base_/datasets/nyud_mt.py',
    '../_base_/schedules/mtlora_300e.py',
    '../_base_/default_runtime.py',
]

# DiTASK as its paper's formula has it: the flow moves the singular values, not their positions.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(cfg=dict(type='DiTASK', cells=64, warp='value'), targets=['qkv']),
            dict(
                cfg=dict(type='DiTASK', cells=64, task_cells=4, warp='value'),
                targets=['proj', 'fc1', 'fc2'],
                lanes='task',
            ),
        ],
        train_also=['patch_embed', 'block_norms', 'relative_position_bias_table', 'reduction'],
    ),
)
