# FAAR as printed (arXiv 2603.20403): AdamW, learning rate 5e-4 at a batch of 32, 300 epochs. What
# it does not print is of mtlora_300e.py: warm-up of 20 epochs, cosine, weight decay, clipping.
optim_wrapper = dict(
    type='OptimWrapper',
    # no weight decay for parameters with one axis
    constructor='FlatNoDecayConstructor',
    optimizer=dict(type='AdamW', lr=5e-4, betas=(0.9, 0.999), weight_decay=0.05),
    clip_grad=dict(max_norm=5.0),
)
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1e-3,
        by_epoch=True,
        begin=0,
        end=20,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR',
        T_max=280,
        eta_min_ratio=1e-2,
        by_epoch=True,
        begin=20,
        end=300,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=300, val_interval=20)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=32)
