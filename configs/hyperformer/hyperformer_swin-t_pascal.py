# Adapters of all layers and tasks from one hypernetwork, with a generator for each of
# the widths; every task runs the whole network.
_base_ = ['../_base_/runs/swin-t_pascal.py', '../_base_/methods/hyperformer.py']
model = dict(backbone=dict(plugins=_base_.pop('plugins'), streams='network'))
