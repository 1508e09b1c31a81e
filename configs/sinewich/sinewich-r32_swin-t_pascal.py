# Free Sinewich (arXiv 2603.21111) at rank 32: LoRA for all tasks; beside the last block of each
# stage lies the base of one convolution for all tasks, and so in the heads, switched by
# frequencies.
# The paper gives no recipe beyond that of prior work: schedule, data and losses are MTLoRA's.
_base_ = ['../_base_/runs/swin-t_pascal.py', '../_base_/methods/sinewich.py']
_base_.plugins.shared.cfg.rank = _base_.plugins.lanes.cfg.rank = 32
model = dict(
    backbone=dict(plugins=_base_.pop('plugins'), clock=dict(tokens='prepend')),
    decoder=dict(_delete_=True, type='SharedBaseDecoder'),
)
default_hooks = dict(frequencies=dict(type='FrequencyHook'))
