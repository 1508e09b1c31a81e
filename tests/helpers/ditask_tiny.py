"""The small DiTASK model whose golden values were computed with the released layer."""

from helpers import mtlora_tiny

TASKS = ('semseg', 'normals', 'sal', 'human_parts')
PLUGINS = [
    dict(cfg=dict(type='DiTASK', cells=8), targets=['qkv']),
    dict(
        cfg=dict(type='DiTASK', cells=8, task_cells=4),
        targets=['proj', 'fc1', 'fc2'],
        lanes='task',
    ),
]
MODEL = {
    **mtlora_tiny.MODEL,
    'tasks': TASKS,
    'backbone': {**mtlora_tiny.MODEL['backbone'], 'plugins': PLUGINS},
}
