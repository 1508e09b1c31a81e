"""Procedural scenes: random furnished rooms with people, ray-cast with exact labels."""

from mtpeft.datasets.scenes.cache import open_cache
from mtpeft.datasets.scenes.classes import CLASSES, LABEL_SPACES, class_numbers
from mtpeft.datasets.scenes.labels import BUFFERS, make_label, make_labels
from mtpeft.datasets.scenes.layout import TEXTURE_SETS, random_scene
from mtpeft.datasets.scenes.render import Rendering, render
from mtpeft.datasets.scenes.source import SceneSource

__all__ = [
    'BUFFERS', 'CLASSES', 'LABEL_SPACES', 'TEXTURE_SETS', 'Rendering', 'SceneSource',
    'class_numbers', 'make_label', 'make_labels', 'open_cache', 'random_scene', 'render',
]  # fmt: skip
