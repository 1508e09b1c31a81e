# Frozen Swin-Base, ImageNet-1k, with the heads of swin-t.py.
_base_ = ['./swin-t.py']
model = dict(
    backbone=dict(backbone=dict(type='timm.swin_base_patch4_window7_224.ms_in1k')),
)
