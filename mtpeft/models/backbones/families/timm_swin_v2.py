"""timm's Swin Transformer V2."""

from timm.models.swin_transformer_v2 import SwinTransformerV2
from torch import nn

from mtpeft.models.backbones.families.timm_swin import TimmSwin


class TimmSwinV2(TimmSwin):
    """Swin V2 of timm: as Swin, with norms after each branch and positions from a small MLP.

    Its attention uses the weight of ``qkv`` without calling the layer; asked to add the bias
    separately it calls the layer, as an adapter needs, and adds the bias in place.
    """

    name = 'timm Swin V2'
    groups = {
        **TimmSwin.groups,
        'relative_position_bias_table': r'.*\.(cpb_mlp\..*|logit_scale)',
    }
    modified_in_place = r'attn\.qkv'
    prompts = None  # its attention normalises queries and keys: not what tokens were tried with
    parts = None
    timm_modules = ('timm.models.swin_transformer_v2',)

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        for module in network.modules():
            if hasattr(module, 'qkv_bias_separate'):
                module.qkv_bias_separate = True

    def reduction(self, merge: nn.Module) -> None:
        return None  # its norm comes behind it

    @staticmethod
    def serves(network: nn.Module) -> bool:
        return isinstance(network, SwinTransformerV2)
