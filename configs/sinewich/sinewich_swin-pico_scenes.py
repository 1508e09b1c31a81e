# Free Sinewich (arXiv 2603.21111) at rank 16: LoRA for all tasks; beside the last block of each
# stage lies the base of one convolution for all tasks, and so in the heads, switched by
# frequencies.
_base_ = ['../_base_/runs/swin-pico_scenes.py', '../_base_/methods/sinewich.py']
_base_.plugins.shared.cfg.rank = _base_.plugins.lanes.cfg.rank = 16
model = dict(
    backbone=dict(plugins=_base_.pop('plugins'), clock=dict(tokens='prepend')),
    decoder=dict(_delete_=True, type='SharedBaseDecoder', channels=96),
)
default_hooks = dict(frequencies=dict(type='FrequencyHook'))
