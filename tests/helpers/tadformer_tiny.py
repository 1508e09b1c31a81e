"""The small TADFormer model whose golden values were computed with the published formulas."""

TASKS = ('semseg', 'normals', 'sal', 'human_parts')
LORA = dict(type='TADFormer', rank=8)
MODEL = dict(
    type='MultiTaskModel',
    tasks=TASKS,
    backbone=dict(
        type='TADFormerBackbone',
        backbone=dict(
            type='timm.swin_tiny_patch4_window7_224',
            embed_dim=24,
            depths=(2, 2, 2, 2),
            num_heads=(1, 2, 4, 8),
        ),
        plugins=[
            dict(cfg=LORA, targets=['qkv']),
            dict(cfg=LORA, targets=['proj', 'fc1', 'fc2'], lanes='task'),
        ],
        train_also=['patch_embed', 'block_norms', 'relative_position_bias_table'],
    ),
    necks=[dict(type='ProjectionNeck', out_channels=(6, 8, 10, 12))],
    decoder=dict(type='MultiHeadDecoder', head=dict(type='HRNetHead')),
)
