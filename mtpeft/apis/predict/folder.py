"""The folder of the results: what will be in it, what is, and its index."""

import json
import os
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mtpeft.utils.atomic import write_atomically

INDEX = 'maps.json'


class OutFolder:
    """Where results go. Nothing that was there before is written over without being told to.

    Args:
        root: The folder; it is made, with those above it.
        force: Whether files that are there may be replaced.

    Raises:
        OSError: the folder cannot be made or written into.
    """

    def __init__(self, root: str | Path, force: bool = False) -> None:
        self.root, self.force = Path(root), force
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self.root).close()
        except OSError as error:
            raise OSError(
                f'{self.root}: nothing can be written into this folder '
                f'({error.strerror or error}). Give another one: --out DIR.'
            ) from error

    def refuse_existing(self, names: Iterable[str]) -> None:
        """Stop before anything is predicted, where results would be written over.

        Raises:
            FileExistsError: which files are there, and what to do.
        """
        if self.force:
            return
        there = [name for name in names if (self.root / name).exists()]
        if there:
            more = f' and {len(there) - 3} more' if len(there) > 3 else ''
            raise FileExistsError(
                f'{self.root} already holds {", ".join(there[:3])}{more}. Give another folder, or '
                '--force to write over them.'
            )

    def continued(self, index: dict[str, Any]) -> dict[str, Any]:
        """``index`` with what is in the folder already, of the same model and kinds of files.

        Raises:
            FileExistsError: the maps in it are of another model or another kind, and nothing says
                that they may be replaced.
        """
        path = self.root / INDEX
        try:
            found = json.loads(path.read_text()) if path.is_file() else {}
        except ValueError:
            found = {}
        lists = ('pictures', 'videos')
        fixed = {key: value for key, value in index.items() if key not in (*lists, 'failed')}
        differing = [key for key, value in fixed.items() if found.get(key) != value]
        if not differing:
            return index | {key: found.get(key, []) for key in lists}
        if path.exists() and not self.force:
            raise FileExistsError(
                f'{path} is of maps that differ in: {", ".join(differing)}. Give another folder, '
                'or --force to replace it (the maps of other pictures stay, without their index).'
            )
        return index

    def write(self, name: str, data: bytes) -> str:
        """Write a file, whole or not at all; its name."""
        write_atomically(data, self.root / name)
        return name

    def write_index(self, index: dict[str, Any]) -> None:
        """Write the index, as JSON."""
        text = json.dumps(index, indent=1)
        # colours in one line each
        text = re.sub(r'\[\s+(\d+),\s+(\d+),\s+(\d+)\s+\]', r'[\1, \2, \3]', text)
        self.write(INDEX, text.encode())

    def path(self, name: str) -> Path:
        """The path of a file in it; the folder of the file is made."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def __str__(self) -> str:
        return os.path.join(self.root, '')
