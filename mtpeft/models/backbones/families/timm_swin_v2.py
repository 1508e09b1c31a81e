"""timm's Swin Transformer V2."""

from timm.models.swin_transformer_v2 import SwinTransformerV2
from torch import nn

from mtpeft.models.backbones.families.timm_swin import TimmSwin


class TimmSwinV2(TimmSwin):
    """Swin V2 of timm: as Swin, with norms after each branch and positions from a small MLP.

    Its attention adds the bias of ``qkv`` in place
    (:func:`~mtpeft.models.backbones.networks.build_network`).
    """

    name = 'timm Swin V2'
    groups = {
        **TimmSwin.groups,
        'relative_position_bias_table': r'.*\.(cpb_mlp\..*|logit_scale)',
    }
    modified_in_place = r'attn\.qkv'
    prompts = None  # its attention normalises queries and keys: not what tokens were tried with
    parts = None

    def reduction(self, merge: nn.Module) -> None:
        return None  # its norm comes behind it

    @staticmethod
    def serves(network: nn.Module) -> bool:
        return isinstance(network, SwinTransformerV2)
