# Free Sinewich on a ViT-B/16 (the paper stops at Swin-T): the task tokens are tokens of its
# sequence. A pyramid is made of its four levels, all at stride 16.
_base_ = ['../_base_/runs/vit-b_pascal.py', '../_base_/methods/sinewich.py']
model = dict(
    backbone=dict(plugins=_base_.pop('plugins'), clock=dict(tokens='prepend')),
    necks=[dict(type='RescaleNeck', scales=(4, 2, 1, 0.5)), *_base_.model.necks],
    decoder=dict(_delete_=True, type='SharedBaseDecoder'),
)
default_hooks = dict(frequencies=dict(type='FrequencyHook'))
