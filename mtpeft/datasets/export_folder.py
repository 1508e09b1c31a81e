"""Folders that a converter writes, and may go on writing after a stop."""

import json
from pathlib import Path

from mtpeft.utils.atomic import write_atomically


def open_export_folder(out: Path, marker: str, options: dict) -> None:
    """Mark a new folder with the options of an export, or check that this very one began in it.

    Args:
        out: The folder.
        marker: Name of the file in it that holds the options.
        options: Whatever changes the files (JSON values).

    Raises:
        FileExistsError: the folder holds something else, or an export with other options.
    """
    path = out / marker
    if path.is_file():
        try:
            found = json.loads(path.read_text())
        except ValueError:
            found = {}
        differing = [key for key in options if found.get(key) != options[key]]
        if differing:
            shown = ', '.join(f'{k}: {found.get(k)} there, {options[k]} asked' for k in differing)
            raise FileExistsError(
                f"'{out}' holds an export with other options ({shown}). Choose another folder or "
                'remove it.'
            )
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(
            f"'{out}' exists and is not an export by this tool (it has no {marker}). Choose "
            'another folder: nothing is ever written into one with other data.'
        )
    write_atomically(json.dumps(options, indent=2).encode(), path)
