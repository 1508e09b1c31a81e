"""The frozen network below adapters: which keys are its own, and which network it is."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from mtpeft.models.backbones.pretrained import PretrainedWeightsError, names_weights


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
    #: were the weights of the base loaded, or random ones asked for?
    _has_base = False
    #: what of the network is trained, as it was in the base; ``None``: not known
    start: dict[str, Tensor] | None = None

    def init_weights(self) -> None:
        """Load the pretrained weights, see a subclass."""
        raise NotImplementedError

    def adapter_layers(self) -> Mapping[str, nn.Module]:
        """Adapted layers by their name in the network, see a subclass."""
        raise NotImplementedError

    def note_start(self, keys: Collection[str] = ()) -> None:
        """Keep copies of what of the network is trained, as it is in the base.

        They are few numbers (norms, biases). A network that is trained whole has no base.

        Args:
            keys: Others that are about to change.
        """
        if not self.freeze:
            return
        own, frozen = self.state_dict(), self.frozen_state_keys()
        keys = {key for key in self.network_keys() if key in keys or key not in frozen}
        self.start = {**(self.start or {}), **{k: own[k].detach().clone() for k in keys}}

    def network_keys(self) -> set[str]:
        """Keys of the network itself in the state dict, without what lies beside its layers."""
        beside = tuple(f'network.{name}.adapter.' for name in self.adapted)
        keys = self.state_dict()
        return {key for key in keys if key.startswith('network.') and not key.startswith(beside)}

    def is_on_base(self, weights: str) -> None:
        """Note that the base was loaded, and start adapters from it.

        Args:
            weights: A word on where it came from.
        """
        self.weights = weights
        for layer in self.adapter_layers().values():
            layer.adapter.reset_from_weight(layer)
        self.note_start()
        self._is_init = self._has_base = True

    @property
    def has_base(self) -> bool:
        """Is the base there, so that a state dict need not hold it?"""
        return self._has_base

    def keep_base(self) -> None:
        """Load state dicts without a base onto the one that is here, random as it may be.

        For who counts or draws adapters, and predicts nothing.
        """
        self._has_base = True

    def stand_on_given(self) -> None:
        """Take the network for the base that was given, where it is in memory."""
        self.to(next(self.network.parameters()).device)
        self.note_start()
        self._has_base = True

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *args: Any
    ) -> None:  # fmt: skip
        # every loader, torch's and MMEngine's, passes here, with a copy of what it was given,
        # before it comes to the network
        self._complete_base(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _complete_base(self, state_dict: dict[str, Tensor], prefix: str) -> None:
        """Load the pretrained base under a state dict that does not hold it, and add it.

        Adapters on a random base would predict nonsense without a word.

        Raises:
            PretrainedWeightsError: there are none to be loaded.
        """
        absent = [key for key in self.frozen_state_keys() if f'{prefix}{key}' not in state_dict]
        if not self._has_base and set(absent) - self.unread_state_keys():
            self._load_absent_base(prefix + min(absent), len(absent))
        self._has_base = True
        own = self.state_dict()
        state_dict.update({f'{prefix}{key}': own[key] for key in absent})

    def _load_absent_base(self, example: str, number: int) -> None:
        if not names_weights(self.base_cfg):
            raise PretrainedWeightsError(
                f'The state dict does not hold the frozen base ({number} entries are absent, '
                f'such as {example}), and the config names no weights of it: its '
                f'pretrained is {self.base_cfg.get("pretrained")}. Name those that the checkpoint '
                'was trained on (pretrained=..., as in the config it was trained with). If the '
                'base is meant to be random, call init_weights() first.'
            )
        print_log(f'The base is not in the state dict; loading {self.base_cfg["type"]} '
                  f'(pretrained={self.base_cfg.get("pretrained")}).', 'current')  # fmt: skip
        self.init_weights()

    def frozen_state_keys(self) -> set[str]:
        """Keys of this module's state dict that are of the base: of the network, and not trained.

        What lies beside the network is no base, whether it is trained or not: frozen matrices of
        an adapter, or of what layers share, are saved with what was trained.
        """
        if not self.freeze or self.merged:
            return set()  # merged weights hold what was trained
        trained = {n for n, p in self.named_parameters() if p.requires_grad}
        return self.network_keys() - trained

    def unread_state_keys(self) -> set[str]:
        """Keys of this module's state dict whose values no output depends on: of a final norm or a
        classifier of the network."""
        return {key for key in self.state_dict() if key.startswith(self._unread)}

    @property
    def _unread(self) -> tuple[str, ...]:
        family = getattr(self, 'family', None)
        return tuple(f'network.{prefix}' for prefix in family.unread) if family else ()

    def base_identity(self, without: Collection[str] = ()) -> dict[str, str]:
        """What the adapters were trained on: network, source of its weights, their hash.

        Args:
            without: Keys that do not count, such as of what was unfrozen while it trained.
        """
        frozen = self.frozen_state_keys().difference(without)
        digest = hashlib.sha256()
        for key, value in sorted(self.state_dict().items()):
            if key in frozen:
                digest.update(key.encode())
                # as bytes, since numpy has no bfloat16
                digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
        return dict(
            type=str(self.base_cfg['type']), weights=self.weights, sha256=digest.hexdigest()
        )
