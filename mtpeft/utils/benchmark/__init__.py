"""Time, memory and operations of training and inference."""

from mtpeft.utils.benchmark.batch import random_batch
from mtpeft.utils.benchmark.components import component_times
from mtpeft.utils.benchmark.measure import measure, measure_merged, runner_inference, runner_step
from mtpeft.utils.benchmark.memory import PROMPT_FREE, peak_memory
from mtpeft.utils.benchmark.operations import multiply_adds, product_rate
from mtpeft.utils.benchmark.plots import draw_sweep, save_sweep
from mtpeft.utils.benchmark.rounds import CLOCKS, Call, ratio, spread, time_in_turns
from mtpeft.utils.benchmark.steps import inference, training_step
from mtpeft.utils.benchmark.sweeps import SWEEPS, sweep, sweep_table
from mtpeft.utils.benchmark.traces import profile_table

__all__ = [
    'CLOCKS', 'PROMPT_FREE', 'SWEEPS', 'Call', 'component_times', 'draw_sweep', 'inference',
    'measure', 'measure_merged', 'multiply_adds', 'peak_memory', 'product_rate', 'profile_table',
    'random_batch', 'ratio', 'runner_inference', 'runner_step', 'save_sweep', 'spread', 'sweep',
    'sweep_table', 'time_in_turns', 'training_step',
]  # fmt: skip
