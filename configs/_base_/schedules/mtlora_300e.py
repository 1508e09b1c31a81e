# The published recipe: AdamW, warm-up 20 epochs, cosine to 300, learning rate 5e-4 * batch / 512.
# 3.125e-5 is for a batch of 32; auto_scale_lr (--cfg-options auto_scale_lr.enable=True) fits it to
# another. Mixed precision: --amp.
optim_wrapper = dict(
    type='OptimWrapper',
    # no weight decay for parameters with one axis
    constructor='FlatNoDecayConstructor',
    optimizer=dict(type='AdamW', lr=3.125e-5, betas=(0.9, 0.999), weight_decay=0.05),
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
