# Adapters of all layers and tasks from one hypernetwork, with a generator for each of
# the widths of the projections; every task runs the whole network.
_base_ = ['../_base_/runs/efficientnet-lite2_nyud.py', '../_base_/methods/hyperformer.py']
_base_.plugins.lanes.cfg.update(embedding=32, hidden=64)
_base_.plugins.lanes.targets = ['project']
model = dict(backbone=dict(plugins=_base_.pop('plugins'), streams='network'))
