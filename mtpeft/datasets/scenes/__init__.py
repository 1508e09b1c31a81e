"""Procedural scenes: random furnished rooms with people, ray-cast with exact labels."""

from mtpeft.datasets.scenes.classes import CLASSES, LABEL_SPACES, class_numbers
from mtpeft.datasets.scenes.labels import LABELS, make_labels
from mtpeft.datasets.scenes.layout import TEXTURE_SETS, random_scene
from mtpeft.datasets.scenes.render import Rendering, render

__all__ = [
    'CLASSES', 'LABELS', 'LABEL_SPACES', 'TEXTURE_SETS', 'Rendering', 'class_numbers',
    'make_labels', 'random_scene', 'render',
]  # fmt: skip
