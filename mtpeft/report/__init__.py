"""A run, or a suite of runs, as one HTML file that opens from the disk."""

from mtpeft.report.build import write_report
from mtpeft.report.run_files import ReportError

__all__ = ['ReportError', 'write_report']
