"""Our models under the names of the released code, and files as that code saves them."""

import contextlib
import re
import sys
import types
from unittest import mock

import torch

_NAMES = (
    (r'^backbone\.network\.', 'backbone.'),
    (r'\.adapter\.(?:theta|A)$', '.lora_shared_A'),
    (r'\.adapter\.B$', '.lora_shared_B'),
    (r'\.adapter\.task_(?:theta|A)\.', '.lora_tasks_A.'),
    (r'\.adapter\.task_B\.', '.lora_tasks_B.'),
    (r'^necks\.0\.proj\.(\w+)\.(\d)\.', r'downsampler.\1.downsample_\2.'),
    (r'^decoder\.heads\.(\w+)\.conv1\.', r'decoders.decoders.\1.last_layer.0.'),
    (r'^decoder\.heads\.(\w+)\.norm\.', r'decoders.decoders.\1.last_layer.1.'),
    (r'^decoder\.heads\.(\w+)\.conv2\.', r'decoders.decoders.\1.last_layer.3.'),
)


def released_state(model):
    """The state dict of a ``MultiTaskModel`` with a Swin as MTLoRA's or DiTASK's code names it.

    As there, it has no final norm.
    """
    state = model.state_dict()
    adapted = {key.split('.adapter.')[0] for key in state if '.adapter.' in key}
    found = {}
    for key, value in state.items():
        layer, _, end = key.rpartition('.')
        new = f'{layer}.linear.{end}' if layer in adapted else key
        for pattern, replacement in _NAMES:
            new = re.sub(pattern, replacement, new)
        merge = re.match(r'backbone\.layers\.(\d+)\.downsample\.', new)
        if merge:
            new = new.replace(f'layers.{merge[1]}.', f'layers.{int(merge[1]) - 1}.', 1)
        if not new.startswith('backbone.norm.'):
            found[new] = value
    return found


def _settings(node, given=None):
    """As yacs does it: nested dicts are nodes, flags are attributes."""
    dict.__init__(node)
    for key, value in (given or {}).items():
        node[key] = type(node)(value) if isinstance(value, dict) else value
    node.__dict__.update(__immutable__=True, __deprecated_keys__=set())


@contextlib.contextmanager
def written_with_yacs(**methods):
    """A stand-in of ``yacs.config.CfgNode``, which can be pickled in this context only."""
    members = {'__init__': _settings, **methods, '__module__': 'yacs.config'}
    yacs, config = types.ModuleType('yacs'), types.ModuleType('yacs.config')
    yacs.config, config.CfgNode = config, type('CfgNode', (dict,), members)
    with mock.patch.dict(sys.modules, {'yacs': yacs, 'yacs.config': config}):
        yield config.CfgNode


def save_released(path, state, settings=None, **more):
    """A file as the released code saves it: with optimizer, epoch, and its settings of yacs."""
    optimizer = dict(state={0: dict(step=3, exp_avg=torch.zeros(2))}, param_groups=[dict(lr=1e-3)])
    content = dict(model=state, optimizer=optimizer, epoch=3, max_accuracy=0.0, **more)
    with written_with_yacs() as node:
        torch.save({**content, 'config': node(settings)}, path)
    return path
