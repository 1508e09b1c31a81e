# One bottleneck adapter for all tasks after attention and one after the MLP.
plugins = dict(
    shared=dict(cfg=dict(type='BottleneckAdapter', reduction=8), targets=['proj', 'fc2']),
)
