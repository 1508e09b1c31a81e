# A recipe of minutes on a CPU for the embedded scenes.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='FlatNoDecayConstructor',
    optimizer=dict(type='AdamW', lr=2e-3, betas=(0.9, 0.999), weight_decay=0.05),
    clip_grad=dict(max_norm=5.0),
)
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1e-2,
        by_epoch=True,
        begin=0,
        end=1,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR',
        T_max=5,
        eta_min_ratio=1e-2,
        by_epoch=True,
        begin=1,
        end=6,
        convert_to_iter_based=True,
    ),
]
# validated after epochs 2, 4, 5 and 6
train_cfg = dict(
    type='EpochBasedTrainLoop', max_epochs=6, val_interval=2, dynamic_intervals=[(5, 1)]
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=8)
