_base_ = [
    '../_base_/models/efficientnet-lite2.py',
    '../_base_/datasets/nyud_mt_small.py',
    '../_base_/schedules/nyud_short.py',
    '../_base_/default_runtime.py',
]

# DiTASK (arXiv 2502.06029) on 1 x 1 convolutions: flows of 32 cells for all tasks, of 4 cells for
# each on the projection of the last block at each stride.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(cfg=dict(type='DiTASK', cells=32), targets=['expand']),
            dict(
                cfg=dict(type='DiTASK', cells=32, task_cells=4), targets=['project'], lanes='task'
            ),
        ]
    ),
)
