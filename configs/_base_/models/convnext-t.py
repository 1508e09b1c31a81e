# Frozen ConvNeXt-T, ImageNet-1k, with the heads of swin-t.py.
_base_ = ['./swin-t.py']
model = dict(
    backbone=dict(
        backbone=dict(type='timm.convnext_tiny.fb_in1k'),
        train_also=['block_norms'],
    ),
)
