# FAAR as its released code trains it, from rank 16. Filters come after upsampling: every level has
# stride 4 then. A short run shrinks 15 times within its first third.
_base_ = ['../_base_/runs/swin-pico_scenes.py', '../_base_/methods/faar-released.py']
_base_.plugins.shared.cfg.rank = _base_.plugins.lanes.cfg.rank = 16
_base_.rank_hooks.pdrs.shrinks = 15
model = dict(
    backbone=dict(plugins=_base_.pop('plugins')),
    necks=[*_base_.model.necks, dict(type='RescaleNeck', scales=(1, 2, 4, 8)), _base_.pop('ts_pd')],
)
default_hooks = _base_.pop('rank_hooks')
