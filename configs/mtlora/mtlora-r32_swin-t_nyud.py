# Shared rank 32, task rank 4; the patch-merging reductions are trained in full.
_base_ = ['../_base_/runs/swin-t_nyud.py', '../_base_/methods/mtlora.py']
_base_.plugins.shared.cfg.rank = _base_.plugins.lanes.cfg.rank = 32
model = dict(
    backbone=dict(
        plugins=_base_.pop('plugins'), train_also=[*_base_.model.backbone.train_also, 'reduction']
    )
)
