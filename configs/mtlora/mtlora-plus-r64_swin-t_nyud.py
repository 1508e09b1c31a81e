# MTLoRA+: the patch-merging reductions are frozen and have a LoRA of rank 64 instead.
_base_ = ['../_base_/runs/swin-t_nyud.py', '../_base_/methods/mtlora.py']
_base_.plugins.shared.targets.append('reduction')
model = dict(backbone=dict(plugins=_base_.pop('plugins')))
