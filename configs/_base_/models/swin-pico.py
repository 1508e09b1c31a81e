# A small frozen Swin (0.9 M parameters) for runs on a CPU. Its weights ship with mtpeft; they come
# from configs/pretrain/swin-pico_scenes-intrinsic.py (other scenes, other textures, other targets).
model = dict(
    type='MultiTaskModel',
    data_preprocessor=dict(
        type='MultiTaskDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    backbone=dict(
        type='AdapterBackbone',
        backbone=dict(
            type='timm.swin_tiny_patch4_window7_224',
            pretrained='mtpeft:swin-pico_scenes-intrinsic',
            embed_dim=20,
            depths=(2, 2, 2, 2),
            num_heads=(1, 2, 4, 8),
            drop_path_rate=0.0,
        ),
        tap='pre_merge',  # pictures are small: levels at strides 4, 8, 16, 32 instead of 8 to 32
        train_also=['patch_embed', 'block_norms', 'relative_position_bias_table'],
    ),
    necks=[dict(type='ProjectionNeck', out_channels=(12, 16, 24, 32))],
    decoder=dict(type='MultiHeadDecoder', head=dict(type='HRNetHead', channels=96)),
)
