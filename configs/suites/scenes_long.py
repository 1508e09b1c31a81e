# Embedded scenes with Swin-pico at 128 x 128 for 30 epochs. Rows that decide are made first (stage
# 0), then faar+, whose size follows from what FAAR has left (1), then the others (2).
data = 'ScenesMT'
seeds = [0]
loaders = ('train_dataloader', 'val_dataloader', 'test_dataloader')
cfg_options = {
    **{f'{loader}.dataset.size': (128, 128) for loader in loaders},
    'model.img_size': (128, 128),
    'train_cfg.max_epochs': 30,
    'train_cfg.val_interval': 10,
    'train_cfg.dynamic_intervals': None,
    # warm-up of two epochs, then cosine to the end
    'param_scheduler.0.end': 2,
    'param_scheduler.1.begin': 2,
    'param_scheduler.1.end': 30,
    'param_scheduler.1.T_max': 28,
}
first = dict(stage=0, seeds=[0, 1, 2])
# as in the paper, ranks shrink after every epoch, to the end
pdrs = {'shrinks': None, 'by_epoch': True, 'shrink_every': 1}
pdrs = {f'default_hooks.pdrs.{key}': value for key, value in pdrs.items()}
full, lora, faar, sinewich = ({'optim_wrapper.optimizer.lr': lr} for lr in (2e-3, 2e-3, 2e-3, 2e-3))
# 2 pixels of 128 x 128, as in configs/_base_/datasets/scenes_mt.py of 96 x 96
edge = {f'{part}_evaluator.tasks.edge.metric.max_dist': 0.0112 for part in ('val', 'test')}
entries = [
    dict(
        label=f'single_task_{task}',
        config=f'../single_task/{task}_swin-pico_scenes.py',
        role='single_task',
        stage=0,
        cfg_options={**full, **(edge if task == 'edge' else {})},
    )
    for task in ('semseg', 'human_parts', 'sal', 'normals', 'depth', 'edge')
] + [
    dict(
        label=label,
        config=f'../{config}_swin-pico_scenes.py',
        cfg_options={**edge, **options},
        **more,
    )
    for label, config, options, more in (
        ('full_finetune', 'full_finetune/full_finetune', full, {}),
        ('lora', 'lora/lora', lora, {}),
        ('mtlora', 'mtlora/mtlora', lora, first),
        ('faar', 'faar/faar', {**faar, **pdrs}, first),
        ('faar-radial', 'faar/faar', {**faar, **pdrs, 'model.necks.1.cw_sp.filter': 'radial'}, {}),
        # down to the effective parameters of `faar`
        (
            'faar-plus',
            'faar/faar-plus',
            {
                **faar,
                'default_hooks.pdrs.by_epoch': True,
                'default_hooks.pdrs.shrink_every': 1,
                'default_hooks.pdrs.budget': 260_000,
            },
            dict(stage=1),
        ),
        ('sinewich', 'sinewich/sinewich', sinewich, first),
        ('sinewich-pointwise', 'sinewich/sinewich-pointwise', sinewich, {}),
        ('sinewich-fc2', 'sinewich/sinewich-fc2', sinewich, {}),
        ('tadformer', 'tadformer/tadformer', lora, {}),
        ('ditask', 'ditask/ditask', lora, {}),
        ('union', 'union/union', {**sinewich, **pdrs}, {}),
    )
]
for entry in entries:
    entry.setdefault('stage', 2)
del entry, loaders, first, pdrs, full, lora, faar, sinewich, edge
