# Pretraining of the small Swin that ships with mtpeft: intrinsic images (albedo and shading) of
# partly hidden pictures. Scenes, textures and targets are none of the downstream ones.
#   python tools/train.py configs/pretrain/swin-pico_scenes-intrinsic.py
#   python tools/model_converters/export_backbone.py WORK_DIR/epoch_N.pth OUT.safetensors
_base_ = ['../_base_/models/swin-pico.py', '../_base_/default_runtime.py']

tasks = dict(
    albedo=dict(
        type='DenseTask',
        kind='values',
        channels=3,
        ignore_value=-1.0,
        loss=dict(type='MaskedL1Loss'),
        loss_weight=4.0,
        metric=dict(type='ValuesMetric'),
        headline='mae',
        lower_is_better=True,
    ),
    shading=dict(
        type='DenseTask',
        kind='values',
        channels=1,
        ignore_value=-1.0,
        loss=dict(type='MaskedL1Loss'),
        loss_weight=2.0,
        metric=dict(type='ValuesMetric'),
        headline='mae',
        lower_is_better=True,
    ),
)
model = dict(
    tasks=tasks,
    backbone=dict(
        backbone=dict(pretrained=False, drop_path_rate=0.05), freeze=False, train_also=[]
    ),
)

scenes = dict(type='ScenesMT', tasks=tasks, size=(96, 96), texture_set='b', cache='memory')
train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        length=3000,
        seed=7_000_000,
        pipeline=[
            dict(type='MTRandomFlip', prob=0.5),
            dict(type='MTPhotometricDistortion'),
            dict(
                type='mmseg.RandomCutOut',
                prob=0.8,
                n_holes=(1, 6),
                cutout_shape=[(12, 12), (20, 20), (28, 28)],
                fill_in=(104, 116, 124),
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

default_hooks = dict(checkpoint=dict(save_best=None), visualization=dict(num_pictures=4))

epochs = 16
optim_wrapper = dict(
    type='OptimWrapper',
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
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=epochs, val_interval=4)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
