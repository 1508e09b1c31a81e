# DiTASK (arXiv 2502.06029): flows of 64 cells for all tasks, of 4 cells for each; the patch-merging
# reductions are trained in full. Schedule, data and losses are MTLoRA's.
_base_ = ['../_base_/runs/swin-t_nyud.py', '../_base_/methods/ditask.py']
model = dict(
    backbone=dict(
        plugins=_base_.pop('plugins'), train_also=[*_base_.model.backbone.train_also, 'reduction']
    )
)
