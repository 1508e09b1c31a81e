"""An endless, numbered sequence of pictures."""

from dataclasses import asdict, dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

from mtpeft.datasets.scenes.layout import TEXTURE_SETS, random_scene
from mtpeft.datasets.scenes.render import Rendering, render
from mtpeft.utils.suggest import hint

# Modules whose code cannot change a rendering.
_AROUND = ('__init__.py', 'cache.py', 'export.py', 'labels.py', 'source.py')


@lru_cache(maxsize=1)
def renderer_digest() -> str:
    """Digest of the renderer's sources: whatever changes a picture changes it."""
    digest = blake2b(digest_size=8)
    for path in sorted(Path(__file__).parent.glob('*.py')):
        if path.name not in _AROUND:
            digest.update(path.name.encode() + b'\0' + path.read_bytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class SceneSource:
    """Picture ``index`` is a function of these options and ``index`` only.

    Args:
        size: ``(H, W)`` in pixels.
        seed: Which sequence; one seed shows the same scenes at every size.
        texture_set: ``'a'`` or ``'b'``.
        supersample: 1 or 2, see :func:`~mtpeft.datasets.scenes.render`.

    Raises:
        ValueError: an option is outside its choices.

    Example:
        >>> SceneSource((8, 12)).render(0).image.shape
        (8, 12, 3)
    """

    size: tuple[int, int]
    seed: int = 0
    texture_set: str = 'a'
    supersample: int = 1

    def __post_init__(self) -> None:
        size = tuple(self.size) if isinstance(self.size, (tuple, list)) else ()
        if len(size) != 2 or not all(isinstance(s, int) and s > 0 for s in size):
            raise ValueError(
                f'Expected size to be (height, width), two positive integers, got {self.size!r}.'
            )
        object.__setattr__(self, 'size', size)
        if not isinstance(self.seed, int) or self.seed < 0:
            raise ValueError(f'Expected seed to be a non-negative integer, got {self.seed!r}.')
        if self.texture_set not in TEXTURE_SETS:
            raise ValueError(
                f"texture_set='{self.texture_set}' is unknown. "
                + hint(str(self.texture_set), TEXTURE_SETS)
            )
        if self.supersample not in (1, 2):
            raise ValueError(f'Expected supersample to be 1 or 2, got {self.supersample!r}.')

    def render(self, index: int) -> Rendering:
        """Picture ``index``."""
        scene = random_scene(self.seed, index, self.texture_set)
        return render(scene, *self.size, supersample=self.supersample)

    def key(self) -> str:
        """A name of these options and of the renderer's version."""
        text = repr(sorted(asdict(self).items())) + renderer_digest()
        return blake2b(text.encode(), digest_size=8).hexdigest()
