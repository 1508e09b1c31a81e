# MTLoRA on a Swin-Base with ImageNet-22k weights, shared rank 64.
_base_ = ['../_base_/runs/swin-b_pascal.py', '../_base_/methods/mtlora.py']
model = dict(
    backbone=dict(
        backbone=dict(type='timm.swin_base_patch4_window7_224.ms_in22k'),
        plugins=_base_.pop('plugins'),
        train_also=[*_base_.model.backbone.train_also, 'reduction'],
    )
)
