# Adapters of all layers and tasks from one hypernetwork; every task runs the whole network.
plugins = dict(
    lanes=dict(
        cfg=dict(type='HyperFormer', reduction=8, embedding=64, hidden=128),
        targets=['proj', 'fc2'],
        lanes='task',
    ),
)
