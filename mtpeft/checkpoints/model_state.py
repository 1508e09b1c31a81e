"""What of a model's state is frozen, where its base came from, and whether a checkpoint fits it.

Any module may take part. ``frozen_state_keys() -> set[str]`` names the entries of its own state
dict that training never changes; ``base_identity() -> dict`` says where they came from (``type``,
``source`` and ``sha256``, a digest of them); ``unread_state_keys() -> set[str]`` names entries that
no output depends on, so that a file without them is whole.
"""

from collections.abc import Collection, Iterable, Mapping

import torch
from torch import Tensor, nn

from mtpeft.checkpoints.files import CheckpointError
from mtpeft.checkpoints.rank_fit import higher_ranks, rank_misfits
from mtpeft.utils.suggest import nearest

_SHOWN = 4


def frozen_state_keys(model: nn.Module) -> set[str]:
    """Keys of ``model.state_dict()`` that its modules declare frozen."""
    return _declared(model, 'frozen_state_keys')


def lacks_base(model: nn.Module, state: Mapping[str, Tensor]) -> bool:
    """Is an entry absent from ``state`` that is declared frozen, and that an output depends on?"""
    absent = frozen_state_keys(model) - set(state)
    return bool(absent) and bool(absent - _declared(model, 'unread_state_keys'))


def _declared(model: nn.Module, method: str) -> set[str]:
    """The keys that the modules of ``model`` name by ``method``."""
    return {
        f'{name}.{key}' if name else key
        for name, module in model.named_modules()
        if hasattr(module, method)
        for key in getattr(module, method)()
    }


def drop_frozen(checkpoint: dict, model: nn.Module, keep: Collection[str] = ()) -> None:
    """Take the frozen keys of ``model``, but for those to keep, out of a file and its EMA copy."""
    for key in frozen_state_keys(model).difference(keep):
        checkpoint['state_dict'].pop(key, None)
        checkpoint.get('ema_state_dict', {}).pop(f'module.{key}', None)


def make_compact(state: dict[str, Tensor]) -> None:
    """Copy each tensor that is a view of a larger storage, which a file would hold as a whole."""
    for key, tensor in state.items():
        if tensor.untyped_storage().nbytes() > tensor.numel() * tensor.element_size():
            state[key] = tensor.clone()


def base_identities(model: nn.Module) -> dict[str, dict]:
    """``base_identity()`` of the modules that have one, by module name."""
    return {
        name: module.base_identity()
        for name, module in model.named_modules()
        if hasattr(module, 'base_identity')
    }


def check_base(
    model: nn.Module,
    saved: Mapping[str, Mapping],
    what: str,
    held: Collection[str] = (),
) -> None:
    """Check that the frozen base under ``model`` is the one that ``what`` was trained on.

    Args:
        model: The model, its pretrained weights loaded.
        saved: ``meta['base']`` of the checkpoint.
        what: The checkpoint, for the message.
        held: Keys that the checkpoint has itself; it may have left them out of its digest.

    Raises:
        CheckpointError: another base.
    """
    for name, own in base_identities(model).items():
        other = saved.get(name)
        if other is None or other.get('sha256') == own.get('sha256'):
            continue
        start = f'{name}.' if name else ''
        inside = {key[len(start) :] for key in held if key.startswith(start)}
        inside &= frozen_state_keys(model.get_submodule(name))
        if inside and _without(model.get_submodule(name), inside) == other.get('sha256'):
            continue
        raise CheckpointError(
            f"{what} was trained on another base than the model's '{name or 'model'}':\n"
            f'  checkpoint: {_identity(other)}\n  model:      {_identity(own)}\n'
            'Adapters mean nothing on other frozen weights. Load the same pretrained weights '
            '(the model.backbone.* options of the config it was trained with), or set '
            "base_mismatch='warn' in CheckpointGuardHook to go on all the same."
        )


def _without(module: nn.Module, keys: Collection[str]) -> str:
    return module.base_identity(without=keys)['sha256']


def _identity(identity: Mapping) -> str:
    shown = dict(identity, sha256=str(identity.get('sha256'))[:12])
    return ', '.join(f'{key}={value}' for key, value in shown.items())


def load_checked(
    model: nn.Module,
    state: Mapping[str, Tensor],
    what: str = 'The checkpoint',
    base: bool = True,
) -> None:
    """Load ``state`` into ``model``; only what is declared frozen may be absent.

    Args:
        model: The model, not wrapped.
        state: State dict, with or without the frozen keys.
        what: The checkpoint, for messages.
        base: ``False``: nothing is predicted, so an absent base need not be loaded.

    Raises:
        PretrainedWeightsError: the base is absent and cannot be loaded.
        CheckpointError: a key is missing or unexpected, or a shape differs (such as a rank above
            that of the model's adapters).
    """
    check_numbers(model, state, what)
    for module in () if base else model.modules():
        if hasattr(module, 'keep_base'):
            module.keep_base()
    try:
        found = model.load_state_dict(dict(state), strict=False)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if 'size mismatch' in line]
        if not lines:
            raise
        misfits = rank_misfits(model, state)
        if len(misfits) == len(lines):
            raise CheckpointError(higher_ranks(what, misfits)) from error
        raise CheckpointError(_other_architecture(what, lines, 'do not fit')) from error
    absent = set(found.missing_keys) - frozen_state_keys(model)
    missing = [key for key in found.missing_keys if key in absent]
    unexpected = list(found.unexpected_keys)
    if not missing and not unexpected:
        return
    lines = _described('missing in the file', missing, state)
    lines += _described('unknown to the model', unexpected, model.state_dict())
    raise CheckpointError(_other_architecture(what, lines, 'are missing or unknown'))


def check_numbers(model: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    """Refuse complex numbers, truth values or integers where the model has another kind.

    Raises:
        CheckpointError: there are some.
    """
    own = model.state_dict()
    wrong = [
        f'{key}: expected {own[key].dtype}, got {value.dtype}'
        for key, value in state.items()
        if key in own and isinstance(own[key], Tensor) and _number(value) != _number(own[key])
    ]
    if wrong:
        raise CheckpointError(_other_architecture(what, wrong, 'are other kinds of numbers'))


def _number(tensor: Tensor) -> str:
    if tensor.dtype == torch.bool:
        return 'truth'
    return 'complex' if tensor.is_complex() else 'real' if tensor.is_floating_point() else 'whole'


def _described(problem: str, keys: list[str], others: Iterable[str]) -> list[str]:
    lines = []
    for key in keys[:_SHOWN]:
        close = nearest(key, others, n=1)
        lines.append(f'{problem}: {key}' + (f' (nearest: {close[0]})' if close else ''))
    rest = len(keys) - _SHOWN
    return lines + ([f'{problem}: {rest} more'] if rest > 0 else [])


def _other_architecture(what: str, lines: list[str], problem: str) -> str:
    shown = lines[: 2 * _SHOWN + 2]
    return (
        f'{what} is of another architecture: trained entries {problem}.\n  '
        + '\n  '.join(shown)
        + '\nUse the config it was trained with (it lies beside the checkpoint, and in its '
        "meta['cfg'])."
    )
