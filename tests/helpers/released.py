"""Our models under the names of the released code, and files as that code saves them."""

import re
import subprocess
import sys

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


_WRITER = """
import sys, types, torch
yacs, config = types.ModuleType('yacs'), types.ModuleType('yacs.config')
class CfgNode(dict):
    def __init__(self, given=None):
        super().__init__()
        for key, value in (given or {}).items():
            self[key] = CfgNode(value) if isinstance(value, dict) else value
        self.__dict__['__immutable__'] = True
        self.__dict__['__deprecated_keys__'] = set()
CfgNode.__module__, config.CfgNode, yacs.config = 'yacs.config', CfgNode, config
sys.modules.update({'yacs': yacs, 'yacs.config': config})
data = torch.load(sys.argv[1], weights_only=True)
torch.save({**data, 'config': CfgNode(data['config'])}, sys.argv[2])
"""


def save_released(path, state, settings=None, **more):
    """A file as the released code saves it: with optimizer, epoch, and its settings of yacs.

    Only the process that writes knows of yacs.
    """
    plain = path.with_suffix('.plain')
    optimizer = dict(state={0: dict(step=3, exp_avg=torch.zeros(2))}, param_groups=[dict(lr=1e-3)])
    content = dict(
        model=state, optimizer=optimizer, epoch=3, max_accuracy=0.0, config=settings or {}
    )
    torch.save({**content, **more}, plain)
    subprocess.run([sys.executable, '-c', _WRITER, plain, path], check=True)
    return path
