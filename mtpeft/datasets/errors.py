"""What a data set raises when a file on disk is not what it should be."""


class DataFileError(ValueError):
    """A file holds something other than expected; the message names the file and what to do.

    It takes one message, as an exception must to cross from a data loader's worker unchanged.

    Example:
        >>> isinstance(DataFileError('depth/7.npy: truncated'), ValueError)
        True
    """
