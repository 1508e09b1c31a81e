"""Pictures of labels and predictions."""

from mtpeft.visualization.colorize import colorize
from mtpeft.visualization.visualizer import MultiTaskVisualizer

__all__ = ['MultiTaskVisualizer', 'colorize']
