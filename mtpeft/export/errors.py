"""What is said when a model cannot be exported."""


class ExportError(RuntimeError):
    """A model that cannot be exported as it was asked for; the message says why and what can."""
