# Ablation of the kernel: W is a diagonal, a weight for each component, so no task sees the
# neighbours of a pixel. The base lies in the projection, into which lanes can be merged.
_base_ = './sinewich_efficientnet-lite2_nyud.py'
model = dict(
    backbone=dict(
        plugins=dict(
            shared=dict(targets=['expand']),
            lanes=dict(cfg=dict(kernel_size=None), targets=['project']),
        )
    )
)
