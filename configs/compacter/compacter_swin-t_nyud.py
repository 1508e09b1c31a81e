# One Compacter for all tasks after attention and one after the MLP of every block.
_base_ = ['../_base_/runs/swin-t_nyud.py', '../_base_/methods/compacter.py']
model = dict(backbone=dict(plugins=_base_.pop('plugins')))
