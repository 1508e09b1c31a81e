# Shared adapters, and one a task on the projection of the last block at each stride.
# The blocks before the first one at stride 4 stay as they are.
_base_ = ['../_base_/runs/efficientnet-lite2_scenes.py', '../_base_/methods/mtlora.py']
early = r're:blocks\.(0|1\.0)\..*'
norms = r're:blocks\.(?!0|1\.0).*bn\d\.(weight|bias)'
_base_.plugins.shared.cfg.rank = _base_.plugins.lanes.cfg.rank = 16
_base_.plugins.lanes.cfg.task_rank = 8
_base_.plugins.shared.update(targets=['expand'], exclude=[early])
_base_.plugins.lanes.update(targets=['project'], exclude=[early])
model = dict(backbone=dict(plugins=_base_.pop('plugins'), train_also=[norms]))
