# Free Sinewich (arXiv 2603.21111) at rank 16: LoRA for all tasks; beside the last block at each
# stride lies the base of one convolution for all tasks, and so in the heads, switched by
# frequencies.
# A CNN has no place for task tokens, so they are parameters beside it.
_base_ = ['../_base_/runs/efficientnet-lite2_nyud.py', '../_base_/methods/sinewich.py']
_base_.plugins.shared.cfg.rank = _base_.plugins.lanes.cfg.rank = 16
_base_.plugins.shared.targets = ['expand', 'project']
model = dict(
    backbone=dict(plugins=_base_.pop('plugins'), clock=dict(tokens='free')),
    decoder=dict(_delete_=True, type='SharedBaseDecoder', channels=270),
)
default_hooks = dict(frequencies=dict(type='FrequencyHook'))
