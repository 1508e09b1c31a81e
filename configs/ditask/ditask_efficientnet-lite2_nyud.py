# DiTASK (arXiv 2502.06029) on 1 x 1 convolutions: flows of 32 cells for all tasks, of 4 cells for
# each on the projection of the last block at each stride.
_base_ = ['../_base_/runs/efficientnet-lite2_nyud.py', '../_base_/methods/ditask.py']
_base_.plugins.shared.cfg.cells = _base_.plugins.lanes.cfg.cells = 32
_base_.plugins.shared.targets, _base_.plugins.lanes.targets = ['expand'], ['project']
model = dict(backbone=dict(plugins=_base_.pop('plugins')))
