# Adapters from decomposed hypernetworks; every task runs the whole network.
_base_ = ['../_base_/runs/efficientnet-lite2_nyud.py', '../_base_/methods/polyhistor.py']
_base_.plugins.lanes.cfg.update(rank=4, embedding=32, hidden=64)
_base_.plugins.lanes.targets = ['project']
model = dict(backbone=dict(plugins=_base_.pop('plugins'), streams='network'))
