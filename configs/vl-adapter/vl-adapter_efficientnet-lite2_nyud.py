# Single adapter: one bottleneck adapter for all tasks behind the projection of every inverted
# residual; the tasks part only at their heads.
_base_ = ['../_base_/runs/efficientnet-lite2_nyud.py', '../_base_/methods/vl-adapter.py']
_base_.plugins.shared.targets = ['project']
model = dict(backbone=dict(plugins=_base_.pop('plugins')))
