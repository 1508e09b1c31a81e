# One Sine-LoRA for all tasks in every block (LoRA's places and rank); the tasks part only at their
# heads.
_base_ = ['../_base_/runs/swin-t_pascal.py', '../_base_/methods/sine-lora.py']
model = dict(backbone=dict(plugins=_base_.pop('plugins')))
