"""Weights of other code bases under this library's names."""

from mtpeft.converters.mtlora import mtlora_to_mtpeft

__all__ = ['mtlora_to_mtpeft']
