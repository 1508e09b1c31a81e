"""Imports what is registered for the methods of a model."""

from mtpeft.apis.save import push_to_hub, save_pretrained

__all__ = ['push_to_hub', 'save_pretrained']
