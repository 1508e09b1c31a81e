"""What a folder that is not the data set looks like instead, and what to do about it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mtpeft.utils.suggest import nearest

_NYU_FILE = 'nyu_depth_v2_labeled.mat'
_ARCHIVES = ('.tar', '.tgz', '.tar.gz', '.zip')
_SPLITS = ('train', 'training', 'val', 'validation', 'test')
# folders of other layouts, by what they hold
_FOLDERS = {
    'pictures': ('image', 'images', 'img', 'rgb', 'rgbs', 'color'),
    'labels': ('label', 'labels', 'seg', 'semseg', 'semantic', 'segmentation'),
    'depth': ('depth', 'depths', 'depth_zbuffer', 'hha'),
    'normals': ('normal', 'normals'),
}

Markers = Mapping[str, tuple[str, ...]]


def fits(root: Path, markers: tuple[str, ...]) -> bool:
    """Whether the folder has all the ``markers``."""
    return all((root / marker).is_dir() for marker in markers)


def advice(name: str, root: Path, layouts: Markers) -> str:
    """A sentence or two for a user whose ``root`` is not the layout of data set class ``name``.

    Args:
        name: A key of ``layouts``.
        root: The folder, which may be missing, or a file.
        layouts: Folders by which a layout is known, by data set class.
    """
    if root.is_file():
        return _nyu_files(name, root.parent) or _archive([root])
    if not root.is_dir():
        return _near(root, layouts[name])
    for other, markers in layouts.items():
        if other != name and fits(root, markers):
            return f"It has the layout of {other}: use type='{other}'."
    found = (
        _near(root, layouts[name])
        or _nyu_files(name, root)
        or _archive(sorted(root.iterdir()))
        or _voc(name, root)
        or _other_copy(root)
    )
    if found:
        return found
    inside = sorted(path.name + '/' * path.is_dir() for path in root.iterdir())
    if not inside:
        return ''
    more = f', ... ({len(inside)} in all)' if len(inside) > 8 else ''
    return f'It holds {", ".join(inside[:8])}{more}.'


def _near(root: Path, markers: tuple[str, ...]) -> str:
    """The folder is one level above or below, or beside under a similar name."""
    below = [child for child in _folders(root) if fits(child, markers)]
    above = [parent for parent in list(root.absolute().parents)[:2] if fits(parent, markers)]
    if below or above:
        return f"Did you mean data_root='{(below + above)[0]}'?"
    beside = {c.name: c for c in _folders(root.absolute().parent) if fits(c, markers)}
    close = nearest(root.name, beside)
    return f"Did you mean data_root='{root.parent / close[0]}'?" if close else ''


def _nyu_files(name: str, root: Path) -> str:
    if name != 'NYUDMT' or not (root / _NYU_FILE).is_file():
        return ''
    splits = root / 'splits.mat'
    text = (
        f"{root / _NYU_FILE} is NYU's original file, which has to be converted:\n    "
        f'mtpeft data nyudv2 {root / _NYU_FILE} {splits} data/NYUD_MT'
    )
    return text if splits.is_file() else f'{text}\n{splits} is missing: get it as well.'


def _archive(files: Sequence[Path]) -> str:
    archives = [path for path in files if path.name.endswith(_ARCHIVES)]
    return f'{archives[0].name} is an archive: unpack it first.' if archives else ''


def _voc(name: str, root: Path) -> str:
    voc = next((r for r in (root, *_folders(root)) if fits(r, ('JPEGImages', 'Annotations'))), None)
    if name != 'PASCALContextMT' or voc is None:
        return ''
    return (
        f"'{voc}' is PASCAL VOC itself, which has the pictures and semseg only. The labels of the "
        'other tasks and ImageSets/Context come from the PASCAL_MT archive.'
    )


def _other_copy(root: Path) -> str:
    """A copy with one folder for each kind of label, in the folder itself or in its splits."""
    for folder in (root, *(c for c in _folders(root) if c.name.lower() in _SPLITS)):
        kinds = {
            kind: child
            for child in _folders(folder)
            for kind, names in _FOLDERS.items()
            if child.name.lower() in names
        }
        if len(kinds) >= 2:
            where = folder.name + '/' if folder != root else ''
            names = ','.join(sorted(child.name for child in kinds.values()))
            suffix = next((p.suffix for c in kinds.values() for p in c.iterdir() if p.suffix), '')
            files = f' of {suffix} files' if suffix else ''
            return (
                f'It has {where}{{{names}}}{files}, a copy as several multi-task repositories use '
                '(often of 13 classes, resized, pictures stored as numbers). '
                "type='FolderMT' reads it as it is, with num_classes of semseg set to its classes "
                "(docs/your_own_data.md). Its labels cannot be turned into NYU's 40 classes: those "
                "come from NYU's original files, by `mtpeft data nyudv2`."
            )
    return ''


def _folders(root: Path) -> Iterator[Path]:
    if root.is_dir():
        yield from (path for path in sorted(root.iterdir()) if path.is_dir())
