# One LoRA for all tasks in every block; the tasks part only at their heads.
_base_ = ['../_base_/runs/swin-pico_scenes.py', '../_base_/methods/lora.py']
_base_.plugins.shared.cfg.rank = 8
model = dict(backbone=dict(plugins=_base_.pop('plugins')))
