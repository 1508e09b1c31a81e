"""VeRA (arXiv 2310.11454): random matrices that all layers share and nobody trains."""

from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import nn

from mtpeft.adapters import Adapter, CommonModule, SharesAcrossLayers
from mtpeft.adapters.base import NotMergeableError
from mtpeft.registry import ADAPTERS

KINDS = ('buffers', 'parameters')


class FrozenMatrices(CommonModule):
    """``A<in>`` and ``B<out>`` for every width, as buffers or as parameters without gradient."""

    component = 'vera_matrices'

    def __init__(self, tasks, rank, kind):
        super().__init__(tasks)
        self.rank, self.kind = rank, kind

    def add_site(self, layer, name='', block=''):
        out, width = layer.weight.shape
        self._make(f'A{width}', self.rank, width)
        self._make(f'B{out}', out, self.rank)
        return super().add_site(layer, name, block)

    def _make(self, name, *shape):
        if hasattr(self, name):
            return
        values = torch.randn(shape) * self.rank**-0.5
        if self.kind == 'buffers':
            self.register_buffer(name, values)
        else:
            self.register_parameter(name, nn.Parameter(values, requires_grad=False))


class VeRA(SharesAcrossLayers, Adapter):
    """``y = W0 x + b + diag(gain) B diag(mix) A x``; lanes have a gain and a mix each."""

    @classmethod
    def make_common(cls, cfg, tasks):
        return FrozenMatrices(tasks, cfg.get('rank', 4), cfg.get('kind', 'buffers'))

    def __init__(self, layer, tasks=(), rank=4, kind='buffers', common=None, site=None):
        super().__init__(layer, tasks)
        out, lead = layer.weight.shape[0], (len(self.tasks),)
        self.mix, self.gain = nn.Parameter(torch.ones(rank)), nn.Parameter(torch.zeros(out))
        self.shared_parameters = {'vera': ['mix', 'gain']}
        if self.tasks:
            self.task_mix = nn.Parameter(torch.ones(*lead, rank))
            self.task_gain = nn.Parameter(torch.zeros(*lead, out))
            self.task_parameters = {'vera_task': ['task_mix', 'task_gain']}
        self.join(layer, common, site, dict(rank=rank, kind=kind))

    def _matrices(self, layer):
        out, width = layer.weight.shape
        return getattr(self.common, f'A{width}'), getattr(self.common, f'B{out}')

    def _path(self, layer, x, mix, gain):
        a, b = self._matrices(layer)
        return layer.frozen(x) + gain * F.linear(mix * F.linear(x, a), b)

    def shared_and_memory(self, layer, x):
        return self._path(layer, x, self.mix, self.gain), None

    def lane(self, layer, x, params, memory):
        return self._path(layer, x, params['task_mix'], params['task_gain'])

    def delta_weight(self, layer, task=None):
        mix, gain = self.mix, self.gain
        if task is not None:
            index = self.tasks.index(task)
            mix, gain = self.task_mix[index], self.task_gain[index]
        a, b = self._matrices(layer)
        return gain[:, None] * (b @ (mix[:, None] * a))


class UnmergedVeRA(VeRA):
    """The same beside the weight for ever, so that a merged model reads the matrices too."""

    mergeable = False

    def delta_weight(self, layer, task=None):
        raise NotMergeableError('It stays.')


@contextmanager
def registered():
    """Let configs name the two."""
    for kind in (VeRA, UnmergedVeRA):
        ADAPTERS.register_module(module=kind)
    try:
        yield
    finally:
        for kind in (VeRA, UnmergedVeRA):
            del ADAPTERS.module_dict[kind.__name__]
