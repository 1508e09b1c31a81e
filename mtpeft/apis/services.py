"""Imports what is registered for the methods of a model."""

from mtpeft.apis.adapters_on import adapters_on
from mtpeft.apis.save import push_to_hub, save_pretrained

__all__ = ['adapters_on', 'push_to_hub', 'save_pretrained']
