"""Profiles of torch.profiler."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile


def profile_table(
    function: Callable[[], object],
    device: torch.device | str = 'cpu',
    rows: int = 25,
    trace: Path | str | None = None,
) -> str:
    """The operators that take the most time of their own, of one call after one that warms up.

    Args:
        function: What to profile.
        device: On a GPU operators are ordered by its time.
        rows: Operators to list.
        trace: Where to write a trace for chrome://tracing or https://ui.perfetto.dev.

    Example:
        >>> 'aten::mm' in profile_table(lambda: torch.ones(4, 4) @ torch.ones(4, 4))
        True
    """
    on_gpu = torch.device(device).type == 'cuda'
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * on_gpu
    function()
    with profile(activities=activities, record_shapes=True) as found:
        function()
        if on_gpu:
            torch.cuda.synchronize(device)
    if trace is not None:
        found.export_chrome_trace(str(trace))
    key = 'self_device_time_total' if on_gpu else 'self_cpu_time_total'
    return found.key_averages().table(sort_by=key, row_limit=rows, max_name_column_width=48)
