# One Compacter for all tasks after attention and one after the MLP.
plugins = dict(
    shared=dict(cfg=dict(type='Compacter', n=4, rank=1, reduction=8), targets=['proj', 'fc2']),
)
