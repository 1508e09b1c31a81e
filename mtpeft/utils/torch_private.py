"""All that mtpeft uses of torch and that torch does not promise to keep.

Each name says what it does and in which version of torch it was seen. One that is gone is an
ImportError with its name, and fails a test of ``tests/utils/test_torch_private.py``.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn


def private(owner: Any, name: str, seen_in: str) -> Any:
    """``owner.name``.

    Args:
        owner: A module, class or object of torch.
        name: Its attribute.
        seen_in: A version of torch that has it.

    Raises:
        ImportError: this torch has none.
    """
    try:
        return getattr(owner, name)
    except AttributeError:
        owner = getattr(owner, '__qualname__', None) or getattr(owner, '__name__', owner)
        raise ImportError(
            f'torch {torch.__version__} has no private name {owner}.{name}, which mtpeft uses; '
            f'torch {seen_in} has it. Install that version (pip install torch=={seen_in}), or say '
            'in mtpeft/utils/torch_private.py how this one does the same.'
        ) from None


#: ``is_batched(tensor)``: does a tensor have an axis that ``torch.vmap`` hides? (2.14.1)
is_batched: Callable[[Tensor], bool] = private(
    private(torch._C, '_functorch', '2.14.1'), 'is_batchedtensor', '2.14.1'
)

#: ``transform()``: the innermost transform of torch.func that is at work, or ``None``. (2.14.1)
transform: Callable[[], Any] = private(torch._C._functorch, 'peek_interpreter_stack', '2.14.1')


def wrap_compiled(
    module: nn.Module, around: Callable[[], AbstractContextManager]
) -> None:  # fmt: skip
    """Run each pass of a module's graph in a context, which is entered outside of the graph.

    Torch calls ``Module._compiled_call_impl`` instead of the module's own pass (2.14.1).

    Args:
        module: A module on which ``compile()`` was called.
        around: Makes the context.

    Raises:
        ImportError: this torch keeps the graph elsewhere.
        RuntimeError: ``module`` is not compiled.
    """
    graph = private(module, '_compiled_call_impl', '2.14.1')
    if graph is None:
        raise RuntimeError(f'{type(module).__name__} has no graph yet: call its compile() first.')

    def wrapped(*inputs: Any, **options: Any) -> Any:
        with around():
            return graph(*inputs, **options)

    module._compiled_call_impl = wrapped


def itself(module: nn.Module) -> nn.Module:
    """The module that a stand-in of ``torch.export`` stands for; any other module as it is.

    While a network is traced of which a module is found in two places, attributes that are modules
    come wrapped: an object of another identity with the same state, whose ``get_base()`` is the
    module (2.14.1).
    """
    base = getattr(type(module), 'get_base', None)
    return module if base is None else base(module)


def is_compiled(module: nn.Module) -> bool:
    """Was ``compile()`` of a module called? (``Module._compiled_call_impl``, 2.14.1)

    Raises:
        ImportError: this torch keeps the graph elsewhere.
    """
    return private(module, '_compiled_call_impl', '2.14.1') is not None


def overflows(
    scaler: torch.amp.GradScaler, optimizer: torch.optim.Optimizer
) -> Iterable[Tensor]:  # fmt: skip
    """Of each device, a number above 0 where a gradient of this step was not finite.

    Known once the scaler has unscaled; ``GradScaler._per_optimizer_states`` has it by the
    optimizer's id (2.14.1).

    Raises:
        ImportError: this torch keeps it elsewhere.
    """
    states = private(scaler, '_per_optimizer_states', '2.14.1')
    return states[id(optimizer)]['found_inf_per_device'].values()
