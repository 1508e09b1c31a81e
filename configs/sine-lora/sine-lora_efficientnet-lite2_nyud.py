# One Sine-LoRA for all tasks on the 1 x 1 convolutions of every inverted residual.
_base_ = ['../_base_/runs/efficientnet-lite2_nyud.py', '../_base_/methods/sine-lora.py']
_base_.plugins.shared.targets = ['expand', 'project']
model = dict(backbone=dict(plugins=_base_.pop('plugins')))
