# Frozen PVT v2 B2, ImageNet-1k, with the heads of swin-t.py.
_base_ = ['./swin-t.py']
model = dict(
    backbone=dict(
        backbone=dict(type='timm.pvt_v2_b2.in1k'), train_also=['patch_embed', 'block_norms']
    ),
)
