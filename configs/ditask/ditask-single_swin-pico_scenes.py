_base_ = [
    '../_base_/models/swin-pico.py',
    '../_base_/datasets/scenes_mt.py',
    '../_base_/schedules/scenes_short.py',
    '../_base_/default_runtime.py',
]

# DiTASK with the flows that serve all tasks only, as for one task. The patch-merging reductions are
# trained in full.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(cfg=dict(type='DiTASK', cells=16), targets=['qkv', 'proj', 'fc1', 'fc2']),
        ],
        train_also=['patch_embed', 'block_norms', 'relative_position_bias_table', 'reduction'],
    ),
)
