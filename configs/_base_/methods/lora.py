# One LoRA for all tasks in every layer of a Swin's blocks.
plugins = dict(
    shared=dict(
        cfg=dict(type='LoRA', rank=16, scale=4.0, dropout=0.05),
        targets=['qkv', 'proj', 'fc1', 'fc2'],
    ),
)
