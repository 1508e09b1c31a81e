# The first 13 epochs of a schedule of 40 at three learning rates, for one method of each family;
# the best of each family is that of its rows in configs/suites/nyud_long.py.
data = 'NYUDv2'
seeds = [0]
cfg_options = {
    'train_cfg.max_epochs': 13,
    'train_cfg.val_interval': 13,
    'param_scheduler.0.end': 2,
    'param_scheduler.1.begin': 2,
    'param_scheduler.1.end': 40,
    'param_scheduler.1.T_max': 38,
}
# a shrink an epoch
shrinking = {
    f'default_hooks.pdrs.{key}': value
    for key, value in dict(shrinks=None, by_epoch=True, shrink_every=1).items()
}
entries = [
    dict(
        label=f'{label}@{lr:g}',
        config=f'../{config}_efficientnet-lite2_nyud.py',
        cfg_options={'optim_wrapper.optimizer.lr': lr, **more},
    )
    for label, config, more in (
        ('single_task_semseg', 'single_task/semseg', {}),
        ('mtlora', 'mtlora/mtlora', {}),
        ('faar', 'faar/faar', shrinking),
        ('sinewich', 'sinewich/sinewich', {}),
    )
    for lr in (5e-4, 1e-3, 2e-3)
]
del shrinking
