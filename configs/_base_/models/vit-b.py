# Frozen ViT-B/16, ImageNet-21k and -1k (AugReg), with the heads of swin-t.py. Its pictures are
# normalised by .5. All levels have stride 16: put RescaleNeck before the projections.
_base_ = ['./swin-t.py']
model = dict(
    data_preprocessor=dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5]),
    backbone=dict(
        backbone=dict(type='timm.vit_base_patch16_224.augreg_in21k_ft_in1k'),
        tap='pre_merge',
        train_also=['block_norms'],
    ),
)
