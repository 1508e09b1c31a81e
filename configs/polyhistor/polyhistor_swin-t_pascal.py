# Adapters from decomposed hypernetworks; every task runs the whole network.
_base_ = ['../_base_/runs/swin-t_pascal.py', '../_base_/methods/polyhistor.py']
model = dict(backbone=dict(plugins=_base_.pop('plugins'), streams='network'))
