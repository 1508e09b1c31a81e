"""Decoders: levels to the logits of every task."""

from mtpeft.models.decoders.multi_head_decoder import MultiHeadDecoder

__all__ = ['MultiHeadDecoder']
