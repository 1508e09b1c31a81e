_base_ = [
    '../_base_/models/efficientnet-lite2_narrow.py',
    '../_base_/datasets/scenes_mt_128.py',
    '../_base_/schedules/scenes_short.py',
    '../_base_/default_runtime.py',
]

# Shared adapters, and one a task on the projection of the last block at each stride.
# The blocks before the first one at stride 4 stay as they are.
early = r're:blocks\.(0|1\.0)\..*'
norms = r're:blocks\.(?!0|1\.0).*bn\d\.(weight|bias)'
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(cfg=dict(type='MTLoRA', rank=16), targets=['expand'], exclude=[early]),
            dict(
                cfg=dict(type='MTLoRA', rank=16, task_rank=8),
                targets=['project'],
                exclude=[early],
                lanes='task',
            ),
        ],
        train_also=[norms],
    ),
)
# no Delta_m before the baselines are measured
default_hooks = dict(checkpoint=dict(save_best=None))
