"""Digests of what the configs resolve to, so that a change of how they are written changes nothing.

To write tests/data/config_digests.json anew after a change that is meant:

    python tests/helpers/config_digests.py
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from mmengine.config import Config

ROOT = Path(__file__).parents[2]
FILE = ROOT / 'tests/data/config_digests.json'


def leaves(root: Path = ROOT) -> list[str]:
    """The configs that can be run, relative to ``root``."""
    paths = sorted((root / 'configs').glob('*/*.py'))
    return [str(p.relative_to(root)) for p in paths if p.parent.name not in ('_base_', 'suites')]


def resolved(config: Path | Config) -> dict[str, Any]:
    """What a config resolves to, its plugins as a list in any case."""
    cfg = (config if isinstance(config, Config) else Config.fromfile(config)).to_dict()
    for backbone in (cfg['model'].get('backbone', {}), cfg['model'].get('teacher', {})):
        plugins = backbone.get('plugins')
        if isinstance(plugins, dict):
            backbone['plugins'] = [plugin for plugin in plugins.values() if plugin is not None]
    return cfg


def digest(config: Path | Config) -> str:
    """SHA-256 of the resolved config; the order of keys does not matter, that of lists does."""
    text = json.dumps(resolved(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def digests(root: Path = ROOT) -> dict[str, str]:
    """Digest of every config by its path."""
    return {name: digest(root / name) for name in leaves(root)}


if __name__ == '__main__':
    # the root of another checkout may be given
    found = digests(*map(Path, sys.argv[1:]))
    FILE.write_text(json.dumps(found, indent=0) + '\n')
