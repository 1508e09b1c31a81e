"""The size of the pictures that a timm network was built for, and whether it takes others."""

from torch import nn


def built_for(network: nn.Module) -> tuple[int, int]:
    """(H, W) of the pictures that a network was built for; 224 x 224 where nothing says it.

    Example:
        >>> import timm
        >>> built_for(timm.create_model('beit_base_patch16_224', depth=1, img_size=(64, 96)))
        (64, 96)
        >>> built_for(timm.create_model('resnet18'))
        (224, 224)
    """
    embed = getattr(network, 'patch_embed', None)
    size = getattr(embed, 'img_size', None)
    if size is None:
        known = getattr(network, 'pretrained_cfg', None) or {}
        size = known['input_size'][-2:] if known.get('input_size') else (224, 224)
    return tuple(size)


def takes_one_size(network: nn.Module) -> bool:
    """Does a network take pictures of the size that it was built for, and no other?

    Example:
        >>> import timm
        >>> takes_one_size(timm.create_model('beit_base_patch16_224', depth=1))
        True
    """
    embed = getattr(network, 'patch_embed', None)
    return bool(getattr(embed, 'strict_img_size', False))


def check_size(network: nn.Module, size: tuple[int, int]) -> None:
    """Refuse pictures that a network of one size cannot take.

    Raises:
        ValueError: the size is another one; the option that changes it is named.
    """
    if takes_one_size(network) and tuple(size) != built_for(network):
        raise ValueError(other_size(network, size))


def other_size(network: nn.Module, size: tuple[int, int], why: str = '') -> str:
    """Says that a network was built for another size, and what to do."""
    height, width = built_for(network)
    return (
        f'{type(network).__name__} was built for pictures of {height} x {width} and cannot take '
        f'{size[0]} x {size[1]}{f" ({why})" if why else ""}. Name the size in the config of the '
        f'network: img_size={tuple(size)}; pictures of all sizes need one that they are cut or '
        'padded to.'
    )
