# One bottleneck adapter for all tasks behind the projection of every inverted residual.
_base_ = ['../_base_/runs/efficientnet-lite2_nyud.py', '../_base_/methods/adapter.py']
_base_.plugins.shared.targets = ['project']
model = dict(backbone=dict(plugins=_base_.pop('plugins')))
