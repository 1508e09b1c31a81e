# MTLoRA (arXiv 2403.20320): low-rank products for all tasks, and in the last block of each stage
# one a task. `reduction` is trained in full beside it, or, in MTLoRA+, has a product too.
plugins = dict(
    shared=dict(cfg=dict(type='MTLoRA', rank=64), targets=['qkv']),
    lanes=dict(
        cfg=dict(type='MTLoRA', rank=64, task_rank=4), targets=['proj', 'fc1', 'fc2'], lanes='task'
    ),
)
