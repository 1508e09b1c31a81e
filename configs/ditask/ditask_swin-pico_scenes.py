# DiTASK (arXiv 2502.06029): flows of 16 cells for all tasks, of 4 cells for each; the patch-merging
# reductions are trained in full.
_base_ = ['../_base_/runs/swin-pico_scenes.py', '../_base_/methods/ditask.py']
_base_.plugins.shared.cfg.cells = _base_.plugins.lanes.cfg.cells = 16
model = dict(
    backbone=dict(
        plugins=_base_.pop('plugins'), train_also=[*_base_.model.backbone.train_also, 'reduction']
    )
)
