# AdaLoRA's triplets for all tasks in every inverted residual, from rank 16 to a mean of 10,
# which go where they matter most.
_base_ = ['../_base_/runs/efficientnet-lite2_nyud.py', '../_base_/methods/adalora.py']
_base_.plugins.shared.cfg.rank = 16
_base_.plugins.shared.targets = ['expand', 'project']
model = dict(backbone=dict(plugins=_base_.pop('plugins')))
default_hooks = dict(
    ranks=dict(type='AdaLoRAHook', target_rank=10, t_initial=0.1, t_final=0.3, delta_t=10)
)
