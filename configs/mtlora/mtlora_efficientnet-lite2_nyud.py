# Shared adapters everywhere, and one a task on the projection of the last block at each stride.
_base_ = ['../_base_/runs/efficientnet-lite2_nyud.py', '../_base_/methods/mtlora.py']
_base_.plugins.shared.cfg.rank = _base_.plugins.lanes.cfg.rank = 16
_base_.plugins.lanes.cfg.task_rank = 8
_base_.plugins.shared.targets, _base_.plugins.lanes.targets = ['expand'], ['project']
model = dict(backbone=dict(plugins=_base_.pop('plugins')))
