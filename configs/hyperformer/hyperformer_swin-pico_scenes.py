# Adapters of all layers and tasks from one hypernetwork, with a generator for each of
# the widths; every task runs the whole network.
_base_ = ['../_base_/runs/swin-pico_scenes.py', '../_base_/methods/hyperformer.py']
_base_.plugins.lanes.cfg.update(reduction=4, embedding=16, hidden=32)
model = dict(backbone=dict(plugins=_base_.pop('plugins'), streams='network'))
