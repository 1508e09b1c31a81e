"""Configs with one mistake each: the mistake must be named, or do no harm.

    python tests/reliability/mutate_configs.py --configs 300 --seed 0

One value of a config of configs/ is changed at a random place: a key is lost, renamed or new, a
value is None, NaN, infinite, negative, 0, huge, of another type or in another container, a list is
shorter or longer, a type or a choice has another letter. *Right* is

* a ConfigError before anything is built, whose text has the place: the dotted path of the
  changed key, or that of the dict it is in together with the key; or, of a model that cannot be
  built (a pattern that hits nothing, as a rule), an error that has the key and the value;
* an accepted config where the change is one that a reader of the documentation expects to be
  valid: it is listed in ``HARMLESS`` below, kind by kind, with the reason.

Anything else is *wrong*. What is accepted is built, too (the model on the meta device, the
optimizer's schedulers and hooks by the preflight itself).
"""

import argparse
import copy
import logging
import math
import random
import re
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / 'tests'))

Path_ = tuple[Any, ...]
UNCHANGED = object()

# -- mutations -------------------------------------------------------------------------------------


def lose(value: Any, key: Any, box: Any, draw: random.Random) -> Any:
    """The entry is gone."""
    del box[key]


def rename(value: Any, key: Any, box: Any, draw: random.Random) -> Any:
    """A key has a letter more, less, or another."""
    if not isinstance(box, dict):
        return UNCHANGED
    del box[key]
    box[misspelt(key, draw)] = value


def add(value: Any, key: Any, box: Any, draw: random.Random) -> Any:
    """A key that nothing knows."""
    if not isinstance(box, dict):
        return UNCHANGED
    box['foo_bar'] = draw.choice((1, 'text', None, True, [1]))


def retype(value: Any, key: Any, box: Any, draw: random.Random) -> Any:
    """A value of another type."""
    others: list[Any] = [
        x for x in (3, 2.5, 'text', True, [1, 2], dict(a=1)) if not same_kind(x, value)
    ]
    box[key] = draw.choice(others)


def none(value: Any, key: Any, box: Any, draw: random.Random) -> Any:
    """None in place of a value."""
    if value is None:
        return UNCHANGED
    box[key] = None


def number(value: Any, key: Any, box: Any, draw: random.Random) -> Any:
    """A number that is not finite, negative, or 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return UNCHANGED
    new = draw.choice((math.nan, math.inf, -abs(value) or -1, 0))
    if new == value and not (isinstance(new, float) and math.isnan(new)):
        return UNCHANGED
    box[key] = new


def huge(value: Any, key: Any, box: Any, draw: random.Random) -> Any:
    """A number that is far too large."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value:
        return UNCHANGED
    box[key] = value * draw.choice((10**6, 10**12))


def wrap(value: Any, key: Any, box: Any, draw: random.Random) -> Any:
    """A value within a list or a dict, or out of its list."""
    if isinstance(value, (list, tuple)) and value and draw.random() < 0.5:
        box[key] = value[0]
    else:
        box[key] = draw.choice(([value], dict(value=value)))


def length(value: Any, key: Any, box: Any, draw: random.Random) -> Any:
    """A list that is shorter or longer."""
    if not isinstance(value, (list, tuple)) or not value:
        return UNCHANGED
    box[key] = list(value[:-1]) if draw.random() < 0.5 else [*value, value[-1]]


def letter(value: Any, key: Any, box: Any, draw: random.Random) -> Any:
    """A text with another letter."""
    if not isinstance(value, str) or not value:
        return UNCHANGED
    box[key] = misspelt(value, draw)


MUTATIONS: tuple[Callable, ...] = (
    lose, rename, add, retype, none, number, number, huge, huge, wrap, length, length, letter,
    letter,
)  # fmt: skip


def misspelt(word: str, draw: random.Random) -> str:
    at = draw.randrange(len(word))
    kind = draw.choice(('drop', 'double', 'other'))
    if kind == 'drop' and len(word) > 1:
        return word[:at] + word[at + 1 :]
    if kind == 'double':
        return word[:at] + word[at] + word[at:]
    return word[:at] + ('x' if word[at] != 'x' else 'y') + word[at + 1 :]


def same_kind(a: Any, b: Any) -> bool:
    kinds = (bool,), (int, float), (str,), (list, tuple), (dict,), (type(None),)
    return next(k for k in kinds if isinstance(a, k)) == next(k for k in kinds if isinstance(b, k))


# -- what may be accepted --------------------------------------------------------------------------

#: key -> kinds of change that give another valid config. By name of the mutation; ``zero``,
#: ``negative``, ``text``, ``integer``, ``number``, ``truth``, ``list`` and ``dict`` are new values.
#: Names of one's own beside those that are read; whole parts with a documented default.
HARMLESS: dict[str, str] = {
    # names of one's own
    r'model\.backbone\.plugins\.\w+': 'rename',
    r'default_hooks\.(visualization|pdrs|ranks|frequencies)': 'rename',
    # another model, which is built; MMEngine's documented None
    r'model\.necks(\.\d+)?': 'length lose',
    r'visualizer\.vis_backends|default_hooks\.checkpoint\.rule': 'none',
    # a variable of one's own
    r'[^.]+': 'add',
    # an option without a value has its documented default; what has none is refused
    r'.+\..+': 'lose',
    # MMEngine's own defaults; without a scope the names are mtpeft's
    r'custom_hooks|log_processor|auto_scale_lr|env_cfg|visualizer|load_from|resume|log_level'
    r'|randomness|default_scope|default_hooks|param_scheduler': 'lose rename',
    r'custom_hooks|log_processor|auto_scale_lr|visualizer|default_hooks|param_scheduler': 'none',
    # a hook is switched off with None, and so is a plugin
    r'default_hooks\.\w+|model\.backbone\.plugins\.\w+': 'none',
    # lists of any length: hooks, plugins' targets, transforms, schedulers, backends
    r'(custom_hooks|param_scheduler|.*\.(targets|exclude|train_also|pipeline|vis_backends))'
    r'(\..*)?': 'length lose',
    # options whose documentation says what None is
    r'.*\.(baselines|seed|save_best|label_interpolation|label_key|metrics|max_keep_ckpts|cache'
    r'|rank_interval|xt_cons|cw_sp|clip_grad|channels|img_size|task_rank|positive_weight|shrinks'
    r'|tasks|base_sizes|init_cfg|weights|generators|reuse|pretrained|prompts|clock|kernel_size'
    r'|head|bins|gain|budget|rho_task|T_max|milestones|loss_weighting|necks|paramwise_cfg'
    r'|data_preprocessor|start_factor|eta_min_ratio|indices|tap)': 'none',
    # numbers whose documentation allows 0
    r'.*\.(begin|seed|weight_decay|dropout|task_dropout|num_workers|margin|start_epoch|prob'
    r'|mean\.\d|eta_min_ratio|eta_min|start_factor|opencv_num_threads|loss_weight|drop_path_rate|scale'
    r'|betas\.\d|std|alpha|beta|eps|rho|angles\.\d|hue|brightness|contrast\.\d|saturation\.\d'
    r'|distill_weights\.\d|orthogonality|t_initial|ignore_value|log_level|max_drop|val_begin'
    r'|drop_rate|shift|omega|interval|save_begin)': 'zero',
    # steps, rates and seeds may be as large as they like; rewarded and paid for when it runs
    r'.*\.(max_epochs|max_iters|val_interval|val_begin|dynamic_intervals\.\d\.\d|interval|begin|end'
    r'|T_max|milestones\.\d|lr'
    r'|weight_decay|max_norm|seed|batch_size|base_batch_size|max_keep_ckpts|window_size'
    r'|num_pictures|scale|alpha|gain|omega|shift|margin|eps|loss_weight|std\.\d|std|mean\.\d'
    r'|baselines\..*|weight|shrink_every|delta_t|every|warmup|budget|start_epoch|ignore_value'
    r'|power|accumulative_counts'
    r'|opencv_num_threads|timeout|angles\.\d|scales\.\d|t_initial|t_final)': 'huge',
    # an evaluation may leave tasks out, which is said
    r'(val|test)_evaluator\.(tasks|baselines)\.\w+': 'lose',
    # numbers without a bound
    r'.*\.(scale|angles\.\d|gain|shift|omega|alpha|ignore_value|opencv_num_threads'
    r'|max_keep_ckpts)': 'negative',
    r'.*\.(interval)': 'negative',
    # names of files and free texts: what is not there is named when it is opened
    r'.*\.(split|data_root|pretrained|filename_tmpl|recipe|out_dir|cache|unit|label_key)':
        'letter text',
    r'.*\.(targets|train_also|exclude)\.\d+': 'letter text',
    r'experiment_name|work_dir': 'letter text none lose rename',
    # one number for all, one by task, one for both sides
    r'.*\.(size|missing|rho_task|img_fill|cache)': 'number truth text',
    r'.*\.size': 'wrap',
    # a list of one, and the one
    r'param_scheduler|.*\.(save_best|rule)|(val|test)_evaluator\.metrics': 'wrap',
}  # fmt: skip


def value_kind(value: Any) -> str:
    """Words for a value: what HARMLESS and the report call it."""
    if value is None:
        return 'none'
    if isinstance(value, bool):
        return 'truth'
    if isinstance(value, (int, float)):
        if not math.isfinite(value):
            return 'not finite'
        return 'zero' if value == 0 else 'negative' if value < 0 else 'number'
    return 'text' if isinstance(value, str) else 'dict' if isinstance(value, dict) else 'list'


# -- one trial -------------------------------------------------------------------------------------


def entries(value: Any, path: Path_ = ()) -> Iterator[Path_]:
    """Paths of all entries of a config, at any depth."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in pairs:
        yield (*path, key)
        if isinstance(inner, (dict, list, tuple)):
            yield from entries(inner, (*path, key))


def lists(value: Any) -> Any:
    """The same with lists for tuples, so that every place can be changed."""
    if isinstance(value, dict):
        return {key: lists(inner) for key, inner in value.items()}
    return [lists(inner) for inner in value] if isinstance(value, (list, tuple)) else value


class Trial:
    """Changes configs and says what became of them."""

    def __init__(self, names: list[str] | None = None) -> None:
        from helpers.config_digests import leaves
        from mmengine.config import Config

        from mtpeft.apis.engine_options import RUN

        self.names = names or leaves()
        self.read = RUN
        self._load = lambda name: lists(Config.fromfile(ROOT / name).to_dict())
        self._loaded: dict[str, dict] = {}

    def mutant(self, seed: int) -> tuple[str, dict, Path_, str]:
        """``(name of the config, its changed values, the place, the mutation)``."""
        draw = random.Random(seed)
        name = draw.choice(self.names)
        whole = self._loaded.setdefault(name, self._load(name))
        places = [p for p in entries(whole) if p[0] in self.read]
        while True:
            cfg = copy.deepcopy(whole)
            # a part of the run first, so that long lists of transforms do not take all
            top = draw.choice(sorted({p[0] for p in places}))
            path = draw.choice([p for p in places if p[0] == top])
            box = cfg
            for key in path[:-1]:
                box = box[key]
            change = draw.choice(MUTATIONS)
            if change(box[path[-1]], path[-1], box, draw) is not UNCHANGED:
                return name, cfg, path, change.__name__

    def outcome(self, seed: int) -> tuple[str, str]:
        """``('right' or 'wrong', what happened)`` for one changed config."""
        from mmengine.config import Config

        from mtpeft.apis.preflight import check_config
        from mtpeft.utils.fits import ConfigError

        name, values, path, change = self.mutant(seed)
        what = f'{name} {change} {".".join(map(str, path))} -> {found_at(values, path)!r:.60}'
        cfg = Config(values, filename=str(ROOT / name))
        try:
            check_config(cfg)
        except ConfigError as error:
            text = str(error)
            return ('right' if names_place(text, path) else 'wrong'), f'{what}: {text[:160]}'
        except Exception as error:
            return 'wrong', f'{what}: {type(error).__name__}: {str(error)[:160]}'
        kind = value_kind(found_at(values, path)) if change in ('number', 'retype') else change
        if harmless(path, kind):
            return self._built(cfg, path, what)
        return 'wrong', f'{what}: accepted ({kind})'

    def _built(self, cfg: Any, path: Path_, what: str) -> tuple[str, str]:
        from mtpeft.registry import MODELS

        if path[0] != 'model':
            return 'right', f'{what}: accepted'
        from mmengine.registry import DefaultScope

        try:
            with torch.device('meta'), DefaultScope.overwrite_default_scope('mtpeft'):
                MODELS.build(copy.deepcopy(cfg.model))
        except Exception as error:
            text = str(error)
            key = next(k for k in reversed(path) if isinstance(k, str))
            named = key in text or str(found_at(cfg, path)) in text
            return ('right' if named else 'wrong'), (
                f'{what}: {type(error).__name__}: {text[-160:]}'
            )
        return 'right', f'{what}: accepted and built'


def found_at(values: Any, path: Path_) -> Any:
    """The value at a place, ``'-'`` where there is none any more."""
    for key in path:
        try:
            values = values[key]
        except (KeyError, IndexError, TypeError):
            return '-'
    return values


def names_place(text: str, path: Path_) -> bool:
    """Whether a message has the place of a key: its path, or its dict's and the key."""
    whole = '.'.join(map(str, path))
    if whole in text or (len(path) == 1 and str(path[0]) in text):
        return True
    parent = '.'.join(map(str, path[:-1]))
    if parent and parent in text:
        return True
    # what a class itself refuses is named by the dict that builds it, and the key
    keys = [str(key) for key in path if isinstance(key, str)]
    return text.startswith(f'{keys[0]}') and any(key in text for key in keys[-2:])


def harmless(path: Path_, kind: str) -> bool:
    """Whether ``HARMLESS`` has a rule for this place and kind of change."""
    whole = '.'.join(map(str, path))
    return any(
        re.fullmatch(pattern, whole) and kind in kinds.split()
        for pattern, kinds in HARMLESS.items()
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--configs', type=int, default=300)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--verbose', action='store_true', help='print every outcome')
    args = parser.parse_args(arguments)
    warnings.filterwarnings('ignore')
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    trial, counts, wrong = Trial(), Counter(), []
    for seed in range(args.seed, args.seed + args.configs):
        verdict, what = trial.outcome(seed)
        accepted = 'accepted' in what.rsplit(': ', 1)[-1]
        counts[verdict] += 1
        counts['accepted'] += accepted and verdict == 'right'
        wrong += [f'seed {seed}: {what}'] if verdict == 'wrong' else []
        if args.verbose:
            print(f'{verdict} {seed}: {what}')
    print('\n'.join(wrong))
    print(
        f'tried {args.configs} changed configs, right {counts["right"]} (of these '
        f'{counts["accepted"]} valid ones accepted), wrong {counts["wrong"]}'
    )
    return int(bool(wrong))


if __name__ == '__main__':
    sys.exit(main())
