# FAAR as its released code trains it. Filters come after upsampling: every level has stride 8 then.
_base_ = ['../_base_/runs/swin-t_nyud.py', '../_base_/methods/faar-released.py']
model = dict(
    backbone=dict(plugins=_base_.pop('plugins')),
    necks=[*_base_.model.necks, dict(type='RescaleNeck', scales=(1, 2, 4, 4)), _base_.pop('ts_pd')],
)
default_hooks = _base_.pop('rank_hooks')
