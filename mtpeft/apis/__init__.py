"""What a script calls: runs and inference."""

from mtpeft.apis.inference import MultiTaskInferencer, init_model
from mtpeft.apis.runner import build_runner

__all__ = ['MultiTaskInferencer', 'build_runner', 'init_model']
