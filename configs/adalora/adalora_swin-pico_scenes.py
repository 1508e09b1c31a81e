# AdaLoRA's triplets for all tasks in every block, from rank 12 to a mean of 8,
# which go where they matter most.
_base_ = ['../_base_/runs/swin-pico_scenes.py', '../_base_/methods/adalora.py']
_base_.plugins.shared.cfg.rank = 12
model = dict(backbone=dict(plugins=_base_.pop('plugins')))
default_hooks = dict(
    ranks=dict(type='AdaLoRAHook', target_rank=8, t_initial=0.1, t_final=0.3, delta_t=10)
)
