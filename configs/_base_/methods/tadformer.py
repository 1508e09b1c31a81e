# TADFormer (arXiv 2501.04293): one A and B for all tasks, with the dynamic task filter between them
# in the last block of each stage.
plugins = dict(
    shared=dict(cfg=dict(type='TADFormer', rank=64), targets=['qkv']),
    lanes=dict(cfg=dict(type='TADFormer', rank=64), targets=['proj', 'fc1', 'fc2'], lanes='task'),
)
