"""Models of the Hugging Face hub: fetched by their names, and put there."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

_NAME = re.compile(r'[\w][\w.-]*/[\w][\w.-]*(@[\w./-]+)?')
#: what is fetched of a repository: no code
_WANTED = ('model.safetensors', 'config.json', 'README.md')


class HubError(RuntimeError):
    """The hub could not be reached, or has no such repository."""


def looks_like_hub(name: str) -> bool:
    """Is it ``'user/name'`` or ``'user/name@revision'``?

    Example:
        >>> looks_like_hub('me/rooms'), looks_like_hub('me/rooms@v2'), looks_like_hub('a/b/c')
        (True, True, False)
    """
    return _NAME.fullmatch(name) is not None


def downloaded(name: str) -> Path:
    """The folder with the files of a repository.

    Args:
        name: ``'user/name'`` or ``'user/name@revision'``.

    Raises:
        HubError: it cannot be had.
    """
    repository, _, revision = name.partition('@')
    folder = _called(
        f"'{name}' is no file or folder here, and the hub did not give it",
        'snapshot_download', repository, revision=revision or None, allow_patterns=list(_WANTED),
    )  # fmt: skip
    return Path(folder)


def check_repository(name: str) -> None:
    """Refuse what is no name of a repository, before anything is written.

    Raises:
        HubError: it is none.
    """
    if not looks_like_hub(name) or '@' in name:
        raise HubError(f"Expected the name of a repository, 'user/name', got {name!r}.")


def upload(
    folder: Path, repository: str, private: bool, token: str | None, message: str
) -> str:  # fmt: skip
    """Put a folder into a repository, which is made if it is not there; its address.

    Raises:
        HubError: it could not be put there; the files that are here are listed.
    """
    here = ', '.join(str(folder / name) for name in _WANTED if (folder / name).is_file())
    why = f"'{repository}' was not put on the hub. What was written is here, whole: {here}"
    _called(why, 'create_repo', repository, private=private, exist_ok=True, token=token)
    done = _called(
        why, 'upload_folder', repo_id=repository, folder_path=str(folder), token=token,
        allow_patterns=list(_WANTED), commit_message=message,
    )  # fmt: skip
    return str(getattr(done, 'commit_url', '') or done)


def _called(why: str, function: str, *args: Any, **options: Any) -> Any:
    """A function of the hub's client; whatever it raises becomes words."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise HubError(f'{why}: pip install huggingface_hub.') from error
    run: Callable = getattr(huggingface_hub, function)
    try:
        return run(*args, **options)
    except Exception as error:  # what it raises depends on its version and on the network
        first = (str(error).strip().splitlines() or ['no text'])[0]
        raise HubError(
            f'{why} ({type(error).__name__}: {first}). Check the name and the network; for what is '
            'private, log in (hf auth login).'
        ) from error
