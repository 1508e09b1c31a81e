# Ablation of the kernel: W is a diagonal, a weight for each component, so no task sees the
# neighbours of a pixel. The base lies in fc2, into which lanes can be merged.
_base_ = './sinewich-r64_swin-t_pascal.py'
model = dict(
    backbone=dict(
        plugins=dict(
            shared=dict(targets=['qkv', 'proj', 'fc1']),
            lanes=dict(cfg=dict(kernel_size=None), targets=['fc2']),
        )
    )
)
