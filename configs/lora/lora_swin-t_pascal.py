# One LoRA for all tasks in every block; the tasks part only at their heads.
_base_ = ['../_base_/runs/swin-t_pascal.py', '../_base_/methods/lora.py']
model = dict(backbone=dict(plugins=_base_.pop('plugins')))
