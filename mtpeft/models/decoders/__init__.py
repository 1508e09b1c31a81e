"""Decoders: levels to the logits of every task."""

from mtpeft.models.decoders.multi_head_decoder import MultiHeadDecoder
from mtpeft.models.decoders.shared_base_decoder import SharedBaseDecoder

__all__ = ['MultiHeadDecoder', 'SharedBaseDecoder']
