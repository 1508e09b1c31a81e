# Adapters from decomposed hypernetworks; every task runs the whole network.
_base_ = ['../_base_/runs/swin-pico_scenes.py', '../_base_/methods/polyhistor.py']
_base_.plugins.lanes.cfg.update(reduction=4, rank=4, embedding=16, hidden=32)
model = dict(backbone=dict(plugins=_base_.pop('plugins'), streams='network'))
