"""What a script calls: runs and inference."""

from mtpeft.apis.inference import compare_predictions, draw_predictions, init_model
from mtpeft.apis.inferencer import MultiTaskInferencer
from mtpeft.apis.models_list import list_models
from mtpeft.apis.pretrained import from_pretrained
from mtpeft.apis.runner import build_runner
from mtpeft.apis.save import push_to_hub, save_pretrained

__all__ = [
    'MultiTaskInferencer', 'build_runner', 'compare_predictions', 'draw_predictions',
    'from_pretrained', 'init_model', 'list_models', 'push_to_hub', 'save_pretrained',
]  # fmt: skip
