"""Methods compared under one recipe: what to run, runs, their results, and the table."""

from mtpeft.apis.suite.collect import collect
from mtpeft.apis.suite.markdown import RUNS_TITLE
from mtpeft.apis.suite.recipe import ChangedRecipeError
from mtpeft.apis.suite.report import FORMATS, write_report
from mtpeft.apis.suite.results import ResultFiles
from mtpeft.apis.suite.run import SuiteRunner
from mtpeft.apis.suite.slots import Slot, cpu_slots, gpu_slots
from mtpeft.apis.suite.state import Run
from mtpeft.apis.suite.suite import SINGLE_TASK, Entry, Suite, load_suite

__all__ = [
    'FORMATS', 'RUNS_TITLE', 'SINGLE_TASK', 'ChangedRecipeError', 'Entry', 'ResultFiles', 'Run',
    'Slot', 'Suite', 'SuiteRunner', 'collect', 'cpu_slots', 'gpu_slots', 'load_suite',
    'write_report',
]  # fmt: skip
