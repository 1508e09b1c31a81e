"""What a script calls: runs and inference."""

from mtpeft.apis.inference import draw_predictions, init_model
from mtpeft.apis.inferencer import MultiTaskInferencer
from mtpeft.apis.runner import build_runner

__all__ = ['MultiTaskInferencer', 'build_runner', 'draw_predictions', 'init_model']
