"""The small MTLoRA model whose golden values were computed with the released code."""

TASKS = ('semseg', 'normals', 'sal')
MODEL = dict(
    type='MultiTaskModel',
    tasks=TASKS,
    backbone=dict(
        type='AdapterBackbone',
        backbone=dict(
            type='timm.swin_tiny_patch4_window7_224',
            embed_dim=24,
            depths=(2, 2, 2, 2),
            num_heads=(1, 2, 4, 8),
        ),
        plugins=[
            dict(cfg=dict(type='MTLoRA', rank=8), targets=['qkv']),
            dict(
                cfg=dict(type='MTLoRA', rank=8, task_rank=4),
                targets=['proj', 'fc1', 'fc2'],
                lanes='task',
            ),
        ],
        train_also=['patch_embed', 'block_norms', 'relative_position_bias_table', 'reduction'],
    ),
    necks=[dict(type='ProjectionNeck', out_channels=(6, 8, 10, 12))],
    decoder=dict(type='MultiHeadDecoder', head=dict(type='HRNetHead')),
)
