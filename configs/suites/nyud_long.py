# NYUDv2 with EfficientNet-Lite2 at 96 x 128 for 20 epochs, twice those of the configs. Rows that
# decide are made first (stage 0), then those whose size follows from what FAAR has left (1), then
# the ablations (2).
epochs = 20
data = 'NYUDv2'
seeds = [0]
cfg_options = {
    'train_cfg.max_epochs': epochs,
    'train_cfg.val_interval': epochs // 4,
    # warm-up of two epochs, then cosine to the end
    'param_scheduler.0.end': 2,
    'param_scheduler.1.begin': 2,
    'param_scheduler.1.end': epochs,
    'param_scheduler.1.T_max': epochs - 2,
}
three = dict(seeds=[0, 1, 2])
first, equal = dict(stage=0, **three), dict(stage=1, **three)
# the best learning rate of each family by configs/suites/nyud_lr.py
full, lora, faar, sinewich = ({'optim_wrapper.optimizer.lr': lr} for lr in (1e-3, 5e-4, 1e-3, 5e-4))
entries = [
    dict(label=label, config=f'../{config}_efficientnet-lite2_nyud.py', cfg_options=options, **more)
    for label, config, options, more in (
        ('single_task_semseg', 'single_task/semseg', full, dict(role='single_task', **first)),
        ('single_task_depth', 'single_task/depth', full, dict(role='single_task', **first)),
        ('single_task_normals', 'single_task/normals', full, dict(role='single_task', **first)),
        ('full_finetune', 'full_finetune/full_finetune', full, {}),
        ('decoders_only', 'decoders_only/decoders_only', lora, {}),
        ('lora', 'lora/lora', lora, {}),
        ('mtlora', 'mtlora/mtlora', lora, first),
        # at the parameters that FAAR has left (806,390): 10/16 of the ranks, which gives 815,614
        (
            'mtlora-equal',
            'mtlora/mtlora',
            {
                **lora,
                'model.backbone.plugins.shared.cfg.rank': 10,
                'model.backbone.plugins.lanes.cfg.rank': 10,
                'model.backbone.plugins.lanes.cfg.task_rank': 5,
            },
            equal,
        ),
        ('faar-dora', 'faar/faar-dora', faar, {}),
        ('faar-pdrs-lora', 'faar/faar-pdrs-lora', faar, {}),
        ('faar-pdrs-dora', 'faar/faar-pdrs-dora', faar, {}),
        # MTLoRA's adapters, so MTLoRA's rate: what differs is the decoder alone
        ('faar-cw-sp', 'faar/faar-cw-sp', lora, {}),
        ('faar-ts-pd', 'faar/faar-ts-pd', lora, {}),
        ('faar', 'faar/faar', faar, first),
        # nyud_lr shrank FAAR's ranks after each epoch; here its other rate at full length
        ('faar-rate-of-mtlora', 'faar/faar', lora, {}),
        # no draws of b behind the last shrinking
        (
            'faar-truncate-while-shrinking',
            'faar/faar',
            {**faar, 'default_hooks.pdrs.truncate': 'while_shrinking'},
            {},
        ),
        # down to the effective parameters of `faar`
        (
            'faar-plus',
            'faar/faar-plus',
            {
                **faar,
                'default_hooks.pdrs.budget': 806_390,
            },
            equal,
        ),
        ('sinewich', 'sinewich/sinewich', sinewich, first),
        ('sinewich-pointwise', 'sinewich/sinewich-pointwise', sinewich, {}),
        ('sinewich-project', 'sinewich/sinewich-project', sinewich, {}),
        ('sinewich-no-lcn', 'sinewich/sinewich-no-lcn', sinewich, {}),
        ('sinewich-no-lowpass', 'sinewich/sinewich-no-lowpass', sinewich, {}),
        ('sinewich-decoder-lowpass', 'sinewich/sinewich-decoder-lowpass', sinewich, {}),
        ('sinewich-no-decoder-lowpass', 'sinewich/sinewich-no-decoder-lowpass', sinewich, {}),
        ('sinewich-no-sine', 'sinewich/sinewich-no-sine', sinewich, {}),
        ('sinewich-independent-base', 'sinewich/sinewich-independent-base', sinewich, {}),
        ('sinewich-independent-decoder', 'sinewich/sinewich-independent-decoder', sinewich, {}),
        ('union', 'union/union', sinewich, {}),
    )
]
for entry in entries:
    entry.setdefault('stage', 2)
del entry, epochs, first, equal, three, full, lora, faar, sinewich
