"""Hooks that allocate ranks while a network trains."""
