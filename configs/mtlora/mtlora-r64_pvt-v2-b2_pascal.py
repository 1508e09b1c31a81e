# MTLoRA on a PVT v2 B2, shared rank 64.
_base_ = ['../_base_/runs/pvt-v2-b2_pascal.py', '../_base_/methods/mtlora.py']
model = dict(
    backbone=dict(
        plugins=_base_.pop('plugins'), train_also=[*_base_.model.backbone.train_also, 'reduction']
    )
)
