# AdaLoRA's triplets for all tasks, with the rank they start at; its hook shares out what is left.
plugins = dict(
    shared=dict(
        cfg=dict(type='AdaLoRA', rank=24, scale=4.0, dropout=0.05),
        targets=['qkv', 'proj', 'fc1', 'fc2'],
    ),
)
