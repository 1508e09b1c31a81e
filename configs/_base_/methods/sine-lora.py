# One Sine-LoRA for all tasks: LoRA's places and rank.
plugins = dict(
    shared=dict(
        cfg=dict(type='SineLoRA', rank=16, omega=100.0, dropout=0.05),
        targets=['qkv', 'proj', 'fc1', 'fc2'],
    ),
)
