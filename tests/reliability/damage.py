"""Damaged checkpoint files: each must be refused with its name, or give the very model.

    python tests/reliability/damage.py --files 300 --seed 0

Every file is a copy of one that a training, publish_model.py or merge_adapters.py wrote
(tests/data/before_the_house/, written anew), with one kind of damage at a random place. It is
loaded as a user would load it. *Right* is a CheckpointError (or PretrainedWeightsError) that
names the file, or a model with exactly the weights of the whole file. Anything else is
*wrong*: another error, or other weights without a word.
"""

import argparse
import logging
import random
import sys
import tempfile
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

Damage = Callable[[Path, random.Random], None]


# -- damage of bytes -----------------------------------------------------------------------------


def cut(path: Path, draw: random.Random) -> None:
    """The end is missing."""
    data = path.read_bytes()
    path.write_bytes(data[: draw.randrange(len(data))])


def flip(path: Path, draw: random.Random) -> None:
    """One bit is another."""
    data = bytearray(path.read_bytes())
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    path.write_bytes(data)


def blank(path: Path, draw: random.Random) -> None:
    """A block of zeros, as a disk that lost a page."""
    data = bytearray(path.read_bytes())
    start = draw.randrange(len(data))
    end = min(len(data), start + draw.choice((16, 512, 4096)))
    data[start:end] = bytes(end - start)
    path.write_bytes(data)


def swap(path: Path, draw: random.Random) -> None:
    """Two blocks changed places."""
    data = bytearray(path.read_bytes())
    size = draw.choice((8, 64, 512))
    a, b = (draw.randrange(max(1, len(data) - size)) for _ in range(2))
    data[a : a + size], data[b : b + size] = data[b : b + size], data[a : a + size]
    path.write_bytes(data[: path.stat().st_size])


def lose_member(path: Path, draw: random.Random) -> None:
    """A member of the archive is gone, or is another's."""
    if path.suffix != '.pth':
        return cut(path, draw)
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    victim, other = draw.choice(list(members)), draw.choice(list(members))
    if draw.random() < 0.5:
        del members[victim]
    else:
        members[victim] = members[other]
    with zipfile.ZipFile(path, 'w') as new:
        for name, data in members.items():
            new.writestr(name, data)
    return None


# -- damage of content ---------------------------------------------------------------------------


def edit(path: Path, draw: random.Random) -> None:
    """One entry is something else."""
    if path.suffix == '.pth':
        content = torch.load(path, weights_only=False)
        state = content['state_dict']
    else:
        from safetensors import safe_open

        with safe_open(path, framework='pt') as file:
            meta = file.metadata()
        content, state = meta, load_file(path)
    key = draw.choice([k for k in state if state[k].is_floating_point()])
    kind = draw.choice(('lost', 'more', 'shape', 'nan', 'inf', 'complex', 'int', 'bool'))
    value = state[key]
    if kind == 'lost':
        del state[key]
    elif kind == 'more':
        state[f'{key}.more'] = value.clone()
    elif kind == 'shape':
        state[key] = torch.cat([value.flatten(), value.flatten()])
    elif kind in ('nan', 'inf'):
        state[key] = value.clone()
        state[key].view(-1)[draw.randrange(value.numel())] = float(kind)
    else:
        state[key] = value.to(dict(complex=torch.complex64, int=torch.int64, bool=torch.bool)[kind])
    if path.suffix == '.pth':
        torch.save(content, path)
    else:
        save_file({k: v.contiguous() for k, v in state.items()}, path, metadata=content)


def replace(path: Path, draw: random.Random) -> None:
    """The file holds something else altogether."""
    if path.suffix != '.pth':
        path.write_bytes(draw.choice((b'', b'{}', b'[' * 5000, draw.randbytes(1000))))
        return
    content = draw.choice(
        (None, [], 3, 'text', {}, dict(state_dict=None), dict(state_dict=[1]), {1: torch.ones(1)},
         dict(state_dict={}), dict(state_dict={'a': 1}), torch.ones(3), (torch.ones(1),),
         dict(state_dict={'a': torch.ones(1)}, meta=[1]))
    )  # fmt: skip
    torch.save(content, path)


DAMAGES: tuple[Damage, ...] = (cut, flip, flip, blank, swap, lose_member, edit, replace)


class Trial:
    """Loads files and says what became of them.

    Args:
        folder: Where copies lie.
    """

    def __init__(self, folder: Path) -> None:
        from helpers import before_the_house as whole

        self.folder = folder
        base = folder / 'base.pth'
        whole.write_base(base)
        self.cfg = whole.config(base)
        self.sources = rewritten(
            [whole.FOLDER / name for name in (whole.TRAINED, whole.PUBLISHED, whole.MERGED)], folder
        )
        self.expected = {path: self.weights(path) for path in self.sources}

    def weights(self, path: Path) -> dict[str, torch.Tensor]:
        from mtpeft.apis import init_model

        return init_model(self.cfg, path).state_dict()

    def outcome(self, seed: int) -> tuple[str, str]:
        """``('right' or 'wrong', what happened)`` for one damaged file."""
        from mtpeft.checkpoints.files import CheckpointError
        from mtpeft.models.backbones import PretrainedWeightsError

        draw = random.Random(seed)
        source, damage = draw.choice(self.sources), draw.choice(DAMAGES)
        path = self.folder / f'damaged_{seed}{source.suffix}'
        path.write_bytes(source.read_bytes())
        damage(path, draw)
        what = f'{damage.__name__} of {source.name}'
        try:
            found = self.weights(path)
        except (CheckpointError, PretrainedWeightsError) as error:
            named = path.name in str(error)
            return ('right' if named else 'wrong'), f'{what}: refused{"" if named else ", no name"}'
        except Exception as error:
            return 'wrong', f'{what}: {type(error).__name__}: {str(error)[:100]}'
        finally:
            path.unlink(missing_ok=True)
        whole = self.expected[source]
        same = found.keys() == whole.keys() and all(
            torch.equal(found[key], value) for key, value in whole.items()
        )
        return ('right' if same else 'wrong'), f'{what}: {"the same" if same else "other"} weights'


def rewritten(paths: list[Path], folder: Path) -> list[Path]:
    """Copies of whole files as this version writes them, with whatever it adds to find damage."""
    try:
        from mtpeft.checkpoints.digest import stamped
    except ImportError:
        return paths
    return [stamped(path, folder / f'whole_{path.name}') for path in paths]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--files', type=int, default=300)
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args(arguments)
    warnings.filterwarnings('ignore')
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    counts, wrong = Counter(), []
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(Path(folder))
        for seed in range(args.seed, args.seed + args.files):
            verdict, what = trial.outcome(seed)
            counts[verdict] += 1
            wrong += [f'seed {seed}: {what}'] if verdict == 'wrong' else []
    print('\n'.join(wrong))
    print(f'tried {args.files} damaged files, right {counts["right"]}, wrong {counts["wrong"]}')
    return int(bool(wrong))


if __name__ == '__main__':
    sys.exit(main())
