# Free Sinewich (arXiv 2603.21111): LoRA for all tasks; beside the last block of each stage lies the
# base of one convolution for all tasks, switched by frequencies.
plugins = dict(
    shared=dict(cfg=dict(type='LoRA', rank=64), targets=['qkv', 'proj', 'fc1', 'fc2']),
    lanes=dict(cfg=dict(type='SineAWB', rank=64), targets=['block'], lanes='task'),
)
