"""How a picture passes a backbone: one shared stream, task lanes, task streams, tokens."""

from mtpeft.models.backbones.streams.base import Streams
from mtpeft.models.backbones.streams.network import NetworkStreams
from mtpeft.models.backbones.streams.stage import StageStreams
from mtpeft.utils.suggest import hint

STREAMS: dict[str, type[Streams]] = {kind.option: kind for kind in (StageStreams, NetworkStreams)}


def streams_class(name: str) -> type[Streams]:
    """The class of the option ``streams``.

    Raises:
        ValueError: an unknown one.
    """
    if name not in STREAMS:
        raise ValueError(f"streams='{name}' is unknown. " + hint(str(name), STREAMS))
    return STREAMS[name]


__all__ = ['STREAMS', 'NetworkStreams', 'StageStreams', 'Streams', 'streams_class']
