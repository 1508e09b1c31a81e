# A model of 30,000 parameters on four scenes: for tests of the engine.
_base_ = ['../../configs/_base_/default_runtime.py']

tasks = dict(semseg=dict(), depth=dict())
model = dict(
    type='MultiTaskModel',
    tasks=tasks,
    img_size=(32, 32),
    data_preprocessor=dict(type='MultiTaskDataPreprocessor'),
    backbone=dict(
        type='AdapterBackbone',
        backbone=dict(
            type='timm.swin_tiny_patch4_window7_224',
            pretrained=False,
            embed_dim=8,
            depths=(1, 1, 1, 1),
            num_heads=(1, 1, 2, 2),
            drop_path_rate=0.3,
        ),
        plugins=[dict(cfg=dict(type='MTLoRA', rank=2, task_rank=2, dropout=0.2),
                      targets=['fc1', 'fc2'], lanes='task')],
        tasks=list(tasks),
        train_also=['block_norms'],
    ),
    necks=[dict(type='ProjectionNeck', out_channels=(4, 4, 4, 4))],
    decoder=dict(type='MultiHeadDecoder', head=dict(type='HRNetHead', channels=8)),
)  # fmt: skip
pipeline = [dict(type='MTRandomFlip'), dict(type='PackMultiTaskInputs')]
# serialising collects garbage, a long pause where many runs share a process
scenes = dict(type='ScenesMT', tasks=tasks, size=(32, 32), serialize_data=False)
train_dataloader = dict(
    batch_size=2,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(**scenes, length=6, seed=1, pipeline=pipeline),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**scenes, length=3, seed=2, test_mode=True, pipeline=pipeline[1:]),
)
test_dataloader = val_dataloader
val_evaluator = dict(
    type='MultiTaskEvaluator', metrics=[], tasks=tasks, baselines=dict(semseg=50.0, depth=1.0)
)
test_evaluator = val_evaluator
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='FlatNoDecayConstructor',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
    clip_grad=dict(max_norm=5.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, end=1, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=2, begin=1, end=3, convert_to_iter_based=True),
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=3)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
