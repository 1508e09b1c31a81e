# README's first run. FAAR: DoRA from rank 16, PDRS with rho .95, TS-PD with XT-Cons.
# A short run shrinks 15 times within its first third and trains on at the small ranks, as the
# paper's long one does. The blocks before the first one at stride 4 stay as they are, which takes a
# third of a step's time.
_base_ = ['../_base_/runs/efficientnet-lite2_scenes.py', '../_base_/methods/faar.py']
early = r're:blocks\.(0|1\.0)\..*'
norms = r're:blocks\.(?!0|1\.0).*bn\d\.(weight|bias)'
_base_.plugins.shared.cfg.rank = _base_.plugins.lanes.cfg.rank = 16
_base_.plugins.shared.update(targets=['expand'], exclude=[early])
_base_.plugins.lanes.update(targets=['project'], exclude=[early])
model = dict(
    img_size={{_base_.size}},
    backbone=dict(plugins=_base_.pop('plugins'), train_also=[norms]),
    necks=[*_base_.model.necks, dict(type='TSPD')],
)
default_hooks = dict(pdrs=dict(type='PDRSHook', rho=0.95, shrinks=15))
