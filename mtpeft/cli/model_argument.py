"""MODEL on a command line: what it can be, and the model that it means."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

_HELP = """a trained model: a file of `mtpeft publish` or `mtpeft merge`, a folder of
save_pretrained, the work dir of a run (its best checkpoint, or else its last), 'mtpeft:NAME' (one
that mtpeft ships), 'user/name' (of the Hugging Face hub), or a config with --checkpoint"""


def add_model_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``MODEL``, ``--checkpoint``, ``--base`` and ``--device``.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_model_argument(parser)
        >>> parser.parse_args(['lora.py', '--checkpoint', 'epoch_10.pth']).checkpoint
        'epoch_10.pth'
    """
    parser.add_argument('model', metavar='MODEL', help=_HELP.replace('\n', ' '))
    parser.add_argument('--checkpoint', metavar='CKPT', help='weights for a config or a work dir')
    parser.add_argument(
        '--base', metavar='FILE', help='weights of the frozen base, where the model names none'
    )
    parser.add_argument('--device', help="'cpu', 'cuda', 'cuda:1', ...; default: a GPU if there is")


def read_model(args: argparse.Namespace) -> 'nn.Module':
    """The model, in eval mode on its device; ``model.cfg`` is its config.

    Args:
        args: What a parser of :func:`add_model_argument` gave.

    Raises:
        SystemExit: there is no such model, or it cannot be used; in words.
    """
    import torch

    from mtpeft.apis import from_pretrained
    from mtpeft.apis.hub import HubError
    from mtpeft.checkpoints.files import CheckpointError
    from mtpeft.models.backbones.pretrained import PretrainedWeightsError
    from mtpeft.utils.fits import ConfigError

    device = args.device or ('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        return from_pretrained(args.model, args.checkpoint, device, args.base)
    except (OSError, CheckpointError, PretrainedWeightsError, HubError, ConfigError) as error:
        raise SystemExit(str(error)) from error
    except (RuntimeError, ValueError) as error:
        raise SystemExit(f'{args.model}: {error}') from error
    except (KeyError, TypeError) as error:
        raise SystemExit(f'{args.model}: {error.args[0] if error.args else error}') from error
