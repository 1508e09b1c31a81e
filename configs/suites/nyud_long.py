# NYUDv2 with EfficientNet-Lite2 at 96 x 128 for 40 epochs: an hour a run and less on one core.
# Rows that decide are made first (stage 0, with three seeds), then those that depend on what FAAR
# keeps, then the ablations.
data = 'NYUDv2'
seeds = [0]
cfg_options = {
    'train_cfg.max_epochs': 40,
    'train_cfg.val_interval': 10,
    # warm-up of two epochs, then cosine to the end
    'param_scheduler.0.end': 2,
    'param_scheduler.1.begin': 2,
    'param_scheduler.1.end': 40,
    'param_scheduler.1.T_max': 38,
}


def row(label, folder=None, lr=1e-3, config=None, stage=2, seeds=None, role='method', **options):
    """An entry; ``lr`` is that of its family, the best of configs/suites/nyud_lr.py."""
    config = f'../{folder or label}/{config or label}_efficientnet-lite2_nyud.py'
    options = {key.replace('__', '.'): value for key, value in options.items()}
    options['optim_wrapper.optimizer.lr'] = lr
    return dict(
        label=label, config=config, role=role, stage=stage, seeds=seeds, cfg_options=options
    )


def faar(label, folder='faar', lr=1e-3, **more):
    """A row with PDRS: as in the paper, ranks shrink after every epoch."""
    times = dict(by_epoch=True, shrink_every=1, start_epoch=0, shrink_until=None)
    times = {f'default_hooks__pdrs__{key}': value for key, value in times.items()}
    return row(label, folder, lr, **times, **more)


entries = [
    *(
        row(f'single_task_{task}', 'single_task', config=task, role='single_task', **deciding)
        for deciding in [dict(stage=0, seeds=[0, 1, 2])]
        for task in ('semseg', 'depth', 'normals')
    ),
    row('full_finetune'),
    row('decoders_only'),
    row('lora'),
    row('mtlora', stage=0, seeds=[0, 1, 2]),
    # MTLoRA at the parameters that FAAR has left: 
    row('mtlora-equal', 'mtlora', config='mtlora', stage=1, seeds=[0, 1, 2]),
]
