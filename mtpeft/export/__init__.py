"""Trained models as files that run without mtpeft."""

from mtpeft.export.check import Difference, Latency, differences, latency
from mtpeft.export.errors import ExportError
from mtpeft.export.export import Exported, export_model
from mtpeft.export.exportable import Exportable
from mtpeft.export.runtimes import runner_of

__all__ = [
    'Difference', 'ExportError', 'Exportable', 'Exported', 'Latency', 'differences',
    'export_model', 'latency', 'runner_of',
]  # fmt: skip
