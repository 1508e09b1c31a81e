"""Which checkpoints of a work dir are whose, and which is the last.

Files name one another relative to the work dir, so that it can be copied and renamed.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mtpeft.checkpoints.files import CheckpointError, name_of

LAST = 'last_checkpoint'
"""The file with the name of the last checkpoint; empty while the first one is being written."""

OBSOLETE = 'obsolete_ckpt_ids'
"""What a checkpoint calls the steps whose files are removed once it is written."""

_NUMBERED = re.compile(r'(?:epoch|iter)_(\d+)\.pth')


def last_checkpoint(
    work_dir: str | os.PathLike, folder: str | os.PathLike | None = None
) -> str | None:
    """The checkpoint that a run in ``work_dir`` goes on from, ``None`` before the first.

    What ``last_checkpoint`` says is looked for beside it: earlier versions wrote whole paths, which
    lead out of a copied or renamed work dir.

    Args:
        work_dir: The folder of the run.
        folder: Where its checkpoints lie; the work dir itself by default.

    Raises:
        CheckpointError: there are checkpoints, but nothing says which is the last one, or the last
            one is not there.
    """
    work_dir = Path(work_dir)
    if '://' in str(folder):
        # MMEngine's own way
        text = (work_dir / LAST).read_text(encoding='utf-8') if (work_dir / LAST).is_file() else ''
        return text.strip() or None
    folder = work_dir if folder is None else Path(folder)
    if not (work_dir / LAST).is_file():
        left = numbered(folder)
        if left:
            raise CheckpointError(
                f'--resume: {folder} has checkpoints ({", ".join(left[-3:])}) but no '
                f'{LAST} that says which one to go on from; a run from the start would overwrite '
                f'them. Name one (--resume {folder / left[-1]}), or choose another --work-dir.'
            )
        return None
    name = (work_dir / LAST).read_text(encoding='utf-8').strip().replace('\\', '/')
    if not name:
        return None
    path = folder / name.rsplit('/', 1)[-1]
    if path.exists():
        return str(path)
    left = numbered(folder)
    first = f'Name another one (--resume {folder / left[-1]})' if left else 'Bring it back'
    raise CheckpointError(
        f'--resume: the last checkpoint of {work_dir} is {path.name}, which is not in {folder} '
        f'(found: {", ".join(left) or "no checkpoint"}). {first}, or choose another --work-dir.'
    )


def numbered(folder: str | os.PathLike) -> list[str]:
    """Names of the checkpoints ``epoch_*.pth`` and ``iter_*.pth`` in a folder, the newest last."""
    found = [path.name for path in Path(folder).glob('*.pth') if _NUMBERED.fullmatch(path.name)]
    return sorted(found, key=lambda name: int(_NUMBERED.fullmatch(name)[1]))


def checkpoint_folder(work_dir: str, out_dir: str | None) -> str:
    """Where MMEngine's checkpoint hook writes, by its ``out_dir``.

    Example:
        >>> checkpoint_folder('runs/a', None), checkpoint_folder('runs/a', '/big')
        ('runs/a', '/big/a')
    """
    if not out_dir or out_dir == work_dir:
        return work_dir
    return os.path.join(out_dir, os.path.basename(work_dir.rstrip(os.sep)))


def is_inside(path: str | os.PathLike, folder: str | os.PathLike) -> bool:
    """Is ``path`` a file directly in ``folder``, links resolved?

    Example:
        >>> is_inside('runs/a/epoch_1.pth', 'runs/a'), is_inside('runs/b/epoch_1.pth', 'runs/a')
        (True, False)
    """
    return os.path.realpath(os.path.dirname(path)) == os.path.realpath(folder)


def noted(path: str, work_dir: str) -> str:
    """What files call a checkpoint: relative to the work dir, if it is in it.

    Example:
        >>> noted('runs/a/epoch_1.pth', 'runs/a')
        'epoch_1.pth'
    """
    return os.path.basename(path) if is_inside(path, work_dir) else path


def forget_others(
    known: dict[str, Any], work_dir: str, folder: str, source: str | None
) -> list[str]:  # fmt: skip
    """Keep of the files that a resumed checkpoint names those that its run may remove.

    Args:
        known: ``runtime_info`` of the message hub; it is changed.
        work_dir: The folder of the run.
        folder: Where its checkpoints lie.
        source: The checkpoint it is resumed from, if any.

    Returns:
        Names of the best checkpoints that belong to the run of ``source``, in another folder.
    """
    if '://' in folder:
        return []
    foreign = source is not None and not is_inside(source, folder)
    if foreign:
        known.pop('keep_ckpt_ids', None)
        known.pop(OBSOLETE, None)
    left = []
    for key in [key for key in known if key.startswith(('best_ckpt', 'last_ckpt'))]:
        # earlier versions wrote whole paths
        path = os.path.join(folder, os.path.basename(str(known[key])))
        if not foreign and os.path.isfile(path):
            known[key] = noted(path, work_dir)
            continue
        del known[key]
        if foreign and key.startswith('best'):
            left.append(os.path.basename(path))
    return left


def check_resumable(checkpoint: Mapping[str, Any]) -> None:
    """Refuse to resume from a file that has no state of a run.

    Raises:
        CheckpointError: the file is a published model or a best checkpoint; the message names the
            file to take, where there is one.
    """
    what = name_of(checkpoint)
    load = 'Start a new run from its weights with --cfg-options load_from=FILE, without --resume'
    if 'epoch' not in (checkpoint.get('meta') or {}):
        raise CheckpointError(
            f'{what} holds no state of a run to go on from (it may be a published model). {load}.'
        )
    if 'optimizer' in checkpoint:
        return
    source = Path(getattr(checkpoint, 'source', '') or '.')
    other = _with_state(source)
    raise CheckpointError(
        f'{what} holds no state of the optimizer (as best_*.pth do not): resumed from it, a run '
        f'would begin its schedule anew. '
        + (f'Go on from {source.parent / other}, or s' if other else 'S')
        + load[1:]
        + '.'
    )


def _with_state(source: Path) -> str:
    """The name of a file beside ``source`` to resume from: of the same time, else the newest."""
    others = [name for name in numbered(source.parent) if name != source.name]
    same = re.search(r'(epoch|iter)_\d+\.pth$', source.name)
    if same and same[0] in others:
        return same[0]
    return others[-1] if others else ''
