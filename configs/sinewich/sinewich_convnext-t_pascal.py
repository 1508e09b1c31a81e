# Free Sinewich on a ConvNeXt-T (the paper stops at Swin-T). It has no attention, so task tokens are
# parameters beside it.
_base_ = ['../_base_/runs/convnext-t_pascal.py', '../_base_/methods/sinewich.py']
_base_.plugins.shared.targets = ['fc1', 'fc2']
model = dict(
    backbone=dict(plugins=_base_.pop('plugins'), clock=dict(tokens='free')),
    decoder=dict(_delete_=True, type='SharedBaseDecoder'),
)
default_hooks = dict(frequencies=dict(type='FrequencyHook'))
