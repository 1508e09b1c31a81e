# DiTASK (arXiv 2502.06029): flows of the singular values for all tasks, and in the last block of
# each stage one a task. `reduction` is trained in full beside it.
plugins = dict(
    shared=dict(cfg=dict(type='DiTASK', cells=64), targets=['qkv']),
    lanes=dict(
        cfg=dict(type='DiTASK', cells=64, task_cells=4),
        targets=['proj', 'fc1', 'fc2'],
        lanes='task',
    ),
)
