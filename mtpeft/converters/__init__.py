"""Weights of other code bases under this library's names."""

from mtpeft.converters.ditask import ditask_to_mtpeft
from mtpeft.converters.mtlora import mtlora_to_mtpeft
from mtpeft.converters.tadformer import tadformer_to_mtpeft

__all__ = ['ditask_to_mtpeft', 'mtlora_to_mtpeft', 'tadformer_to_mtpeft']
