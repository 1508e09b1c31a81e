"""Methods compared under one recipe: what to run, runs, their results, and the table."""

from mtpeft.apis.suite.collect import collect
from mtpeft.apis.suite.recipe import ChangedRecipeError
from mtpeft.apis.suite.report import write_report
from mtpeft.apis.suite.results import ResultFiles
from mtpeft.apis.suite.run import SuiteRunner
from mtpeft.apis.suite.state import Run
from mtpeft.apis.suite.suite import Entry, Suite, load_suite

__all__ = [
    'ChangedRecipeError', 'Entry', 'ResultFiles', 'Run', 'Suite', 'SuiteRunner', 'collect',
    'load_suite', 'write_report',
]  # fmt: skip
