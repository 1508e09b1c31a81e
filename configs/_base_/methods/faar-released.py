# FAAR as the code released with it trains it (not as its paper, arXiv 2603.20403, prints it): each
# difference is an option, listed in docs/methods/faar.md. The rank of 32 is that of its config for
# Swin-T; a learning rate of 5e-4 x batch / 512, the rest of the schedule is that of mtlora_300e.py.
dora = dict(
    type='DoRA',
    rank=32,
    dropout=0.05,
    direction='rows',
    magnitude_rate=0.1,
    detach_norm=False,
    residual=True,
)
plugins = dict(
    shared=dict(cfg=dora, targets=['qkv', 'reduction']),
    lanes=dict(cfg=dora, targets=['proj', 'fc1', 'fc2'], lanes='task'),
)
del dora
ts_pd = dict(
    type='TSPD',
    cw_sp=dict(filter='radial', affine_std=0.02, rows='shifted'),
    xt_cons=dict(low='amplitude', caps=(0.5, 0.3), rows='shifted'),
)
rank_hooks = dict(
    pdrs=dict(type='PDRSHook', rho=0.2, margin=1, min_rank=2, clamp=100),
    magnitudes=dict(type='MagnitudePenaltyHook', weight=1e-4),
)
