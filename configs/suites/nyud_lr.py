# The first third of configs/suites/nyud_long.py at three learning rates, for one method of each
# family; the best of each family is that of its rows there.
_base_ = './nyud_long.py'
cfg_options = {'train_cfg.max_epochs': 13, 'train_cfg.val_interval': 13}
# a shrink an epoch, as there
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
