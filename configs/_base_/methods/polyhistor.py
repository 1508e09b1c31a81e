# Adapters from decomposed hypernetworks; every task runs the whole network.
plugins = dict(
    lanes=dict(
        cfg=dict(type='Polyhistor', reduction=8, rank=5, embedding=64, hidden=128),
        targets=['proj', 'fc2'],
        lanes='task',
    ),
)
