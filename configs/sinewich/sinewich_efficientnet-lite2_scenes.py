# Free Sinewich (arXiv 2603.21111) at rank 16: LoRA for all tasks; beside the last block at each
# stride lies the base of one convolution for all tasks, and so in the heads, switched by
# frequencies. A CNN has no place for task tokens, so they are parameters beside it.
# The blocks before the first one at stride 4 stay as they are.
_base_ = ['../_base_/runs/efficientnet-lite2_scenes.py', '../_base_/methods/sinewich.py']
early = r're:blocks\.(0|1\.0)\..*'
norms = r're:blocks\.(?!0|1\.0).*bn\d\.(weight|bias)'
_base_.plugins.shared.cfg.rank = _base_.plugins.lanes.cfg.rank = 16
_base_.plugins.shared.update(targets=['expand', 'project'], exclude=[early])
model = dict(
    backbone=dict(plugins=_base_.pop('plugins'), clock=dict(tokens='free'), train_also=[norms]),
    decoder=dict(_delete_=True, type='SharedBaseDecoder', channels=80),
)
default_hooks = dict(frequencies=dict(type='FrequencyHook'))
