# FAAR as its released code trains and judges it. Filters come after upsampling: every level has
# stride 8 then.
_base_ = [
    '../_base_/models/swin-t.py',
    '../_base_/datasets/nyud_mt_released.py',
    '../_base_/schedules/mtlora_300e.py',
    '../_base_/default_runtime.py',
    '../_base_/methods/faar-released.py',
]
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(plugins=_base_.pop('plugins')),
    necks=[*_base_.model.necks, dict(type='RescaleNeck', scales=(1, 2, 4, 4)), _base_.pop('ts_pd')],
)
default_hooks = _base_.pop('rank_hooks')
