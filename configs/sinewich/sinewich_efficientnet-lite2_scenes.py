_base_ = [
    '../_base_/models/efficientnet-lite2_narrow.py',
    '../_base_/datasets/scenes_mt_128.py',
    '../_base_/schedules/scenes_short.py',
    '../_base_/default_runtime.py',
]

# Free Sinewich (arXiv 2603.21111) at rank 16: LoRA for all tasks; beside the last block at each
# stride lies the base of one convolution for all tasks, and so in the heads, switched by
# frequencies. A CNN has no place for task tokens, so they are parameters beside it.
# The blocks before the first one at stride 4 stay as they are.
early = r're:blocks\.(0|1\.0)\..*'
norms = r're:blocks\.(?!0|1\.0).*bn\d\.(weight|bias)'
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(cfg=dict(type='LoRA', rank=16), targets=['expand', 'project'], exclude=[early]),
            dict(cfg=dict(type='SineAWB', rank=16), targets=['block'], lanes='task'),
        ],
        clock=dict(tokens='free'),
        train_also=[norms],
    ),
    decoder=dict(_delete_=True, type='SharedBaseDecoder', channels=80),
)
default_hooks = dict(
    frequencies=dict(type='FrequencyHook'),
    checkpoint=dict(save_best=None),  # no Delta_m before the baselines are measured
)
