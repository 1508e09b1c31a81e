# Frozen Swin-T with the HRNet heads of MTLoRA's protocol (arXiv 2403.20320).
# A method adds backbone.plugins; `tasks` comes from the data set's file.
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
            type='timm.swin_tiny_patch4_window7_224.ms_in1k', pretrained=True, drop_path_rate=0.2
        ),
        tap='post_merge',
        train_also=['patch_embed', 'block_norms', 'relative_position_bias_table'],
    ),
    necks=[dict(type='ProjectionNeck', out_channels=(18, 36, 72, 144))],
    decoder=dict(type='MultiHeadDecoder', head=dict(type='HRNetHead')),
)
