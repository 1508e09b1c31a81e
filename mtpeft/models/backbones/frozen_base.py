"""The frozen network below adapters: which keys are its own, and which network it is."""

import hashlib
from collections.abc import Mapping, Sequence

import torch
from torch import nn


class FrozenBase(nn.Module):
    """Mixin: a module whose ``network`` is frozen but for what is trained of it.

    It has ``freeze``, ``merged``, ``adapted`` (names of adapted layers), ``base_cfg`` and
    ``weights`` (where they came from).
    """

    freeze: bool
    merged: bool
    adapted: Sequence[str]
    base_cfg: Mapping
    weights: str

    def frozen_state_keys(self) -> set[str]:
        """Keys of this module's state dict that are of the base: of the network, and not trained.

        What lies beside the network is no base, whether it is trained or not: frozen matrices of
        an adapter, or of what layers share, are saved with what was trained.
        """
        if not self.freeze or self.merged:
            return set()  # merged weights hold what was trained
        trained = {n for n, p in self.named_parameters() if p.requires_grad}
        beside = tuple(f'network.{name}.adapter.' for name in self.adapted)
        return {
            key
            for key in self.state_dict()
            if key.startswith('network.') and not key.startswith(beside) and key not in trained
        }

    def unread_state_keys(self) -> set[str]:
        """Keys of this module's state dict whose values no output depends on: of a final norm or a
        classifier of the network."""
        return {key for key in self.state_dict() if key.startswith(self._unread)}

    @property
    def _unread(self) -> tuple[str, ...]:
        family = getattr(self, 'family', None)
        return tuple(f'network.{prefix}' for prefix in family.unread) if family else ()

    def base_identity(self) -> dict[str, str]:
        """What the adapters were trained on: network, source of its weights, their hash."""
        frozen = self.frozen_state_keys()
        digest = hashlib.sha256()
        for key, value in sorted(self.state_dict().items()):
            if key in frozen:
                digest.update(key.encode())
                # as bytes, since numpy has no bfloat16
                digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
        return dict(
            type=str(self.base_cfg['type']), weights=self.weights, sha256=digest.hexdigest()
        )
