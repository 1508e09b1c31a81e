"""Time, memory and operations of training and inference."""

from mtpeft.utils.benchmark.batch import random_batch
from mtpeft.utils.benchmark.measure import measure
from mtpeft.utils.benchmark.memory import PROMPT_FREE, peak_memory
from mtpeft.utils.benchmark.operations import multiply_adds, product_rate
from mtpeft.utils.benchmark.rounds import CLOCKS, Call, ratio, spread, time_in_turns
from mtpeft.utils.benchmark.steps import inference, training_step

__all__ = [
    'CLOCKS', 'Call', 'PROMPT_FREE', 'inference', 'measure', 'multiply_adds', 'peak_memory',
    'product_rate', 'random_batch', 'ratio', 'spread', 'time_in_turns', 'training_step',
]  # fmt: skip
