_base_ = [
    '../_base_/models/swin-pico.py',
    '../_base_/datasets/scenes_mt.py',
    '../_base_/schedules/scenes_short.py',
    '../_base_/default_runtime.py',
]

# DiTASK (arXiv 2502.06029): flows of 16 cells for all tasks, of 4 cells for each; the patch-merging
# reductions are trained in full.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(cfg=dict(type='DiTASK', cells=16), targets=['qkv']),
            dict(
                cfg=dict(type='DiTASK', cells=16, task_cells=4),
                targets=['proj', 'fc1', 'fc2'],
                lanes='task',
            ),
        ],
        train_also=['patch_embed', 'block_norms', 'relative_position_bias_table', 'reduction'],
    ),
)
