"""Time, memory and operations of training and inference."""

from mtpeft.utils.benchmark.batch import measure, random_batch
from mtpeft.utils.benchmark.operations import multiply_adds

__all__ = ['measure', 'multiply_adds', 'random_batch']
