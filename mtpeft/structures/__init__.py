"""The sample that travels from the data set to the metrics."""

from mtpeft.structures.multi_task_data_sample import MultiTaskDataSample

__all__ = ['MultiTaskDataSample']
