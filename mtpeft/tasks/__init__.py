"""Tasks as data: what a label means, how it is learnt, judged, augmented and drawn."""

from mtpeft.tasks.build import TaskSpec, build_tasks
from mtpeft.tasks.builtin import depth, edge, human_parts, normals, sal, semseg
from mtpeft.tasks.dense_task import DenseTask

__all__ = [
    'DenseTask', 'TaskSpec', 'build_tasks',
    'semseg', 'human_parts', 'sal', 'normals', 'depth', 'edge',
]  # fmt: skip
