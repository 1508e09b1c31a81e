"""Heads: levels to logits."""

from mtpeft.models.heads.hrnet_head import HRNetHead

__all__ = ['HRNetHead']
