# Free Sinewich on a Swin-Base (the paper stops at Swin-T).
_base_ = ['../_base_/runs/swin-b_pascal.py', '../_base_/methods/sinewich.py']
model = dict(
    backbone=dict(plugins=_base_.pop('plugins'), clock=dict(tokens='prepend')),
    decoder=dict(_delete_=True, type='SharedBaseDecoder'),
)
default_hooks = dict(frequencies=dict(type='FrequencyHook'))
