"""Time, memory and operations of training and inference."""

from mtpeft.benchmark.batch import random_batch
from mtpeft.benchmark.components import component_times
from mtpeft.benchmark.loading import rate, step_times, worker_rate
from mtpeft.benchmark.measure import measure, measure_merged, runner_inference, runner_step
from mtpeft.benchmark.memory import PROMPT_FREE, peak_memory
from mtpeft.benchmark.operations import multiply_adds, product_rate
from mtpeft.benchmark.part_operations import part_operations
from mtpeft.benchmark.plots import draw_sweep, save_sweep
from mtpeft.benchmark.rounds import CLOCKS, Call, ratio, spread, time_in_turns
from mtpeft.benchmark.steps import inference, training_step
from mtpeft.benchmark.sweeps import SWEEPS, sweep, sweep_table
from mtpeft.benchmark.traces import profile_table

__all__ = [
    'CLOCKS', 'PROMPT_FREE', 'SWEEPS', 'Call', 'component_times', 'draw_sweep', 'inference',
    'measure', 'measure_merged', 'multiply_adds', 'part_operations', 'peak_memory', 'product_rate',
    'profile_table', 'random_batch', 'rate', 'ratio', 'runner_inference', 'runner_step',
    'save_sweep', 'spread', 'step_times', 'sweep', 'sweep_table', 'time_in_turns', 'training_step',
    'worker_rate',
]  # fmt: skip
