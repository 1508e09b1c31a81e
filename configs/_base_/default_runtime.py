default_scope = 'mtpeft'

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=20, log_metric_by_epoch=True),
    param_scheduler=dict(type='ParamSchedulerHook'),
    # Only what was trained is saved; full=True adds the frozen base.
    checkpoint=dict(
        type='AdapterCheckpointHook',
        interval=1,
        max_keep_ckpts=2,
        save_best='mtl/delta_m',
        rule='greater',
    ),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='PredictionGridHook', num_pictures=4),
)
custom_hooks = [
    dict(type='CheckpointGuardHook'),
    dict(type='ReproducibleEpochHook'),
    dict(type='SyncNormStatsHook'),
    dict(type='SummaryHook'),
    dict(type='ResumedValidationHook'),
]

env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    # On a machine without a GPU several processes use gloo instead.
    dist_cfg=dict(backend='nccl'),
)
vis_backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
visualizer = dict(type='MultiTaskVisualizer', vis_backends=vis_backends)
log_processor = dict(by_epoch=True, window_size=20)
log_level = 'INFO'
randomness = dict(seed=0)
load_from = None
resume = False
