# AdaLoRA's triplets for all tasks in every block, from rank 24 to a mean of 16,
# which go where they matter most.
_base_ = ['../_base_/runs/swin-t_nyud.py', '../_base_/methods/adalora.py']
model = dict(backbone=dict(plugins=_base_.pop('plugins')))
default_hooks = dict(
    ranks=dict(type='AdaLoRAHook', target_rank=16, t_initial=0.1, t_final=0.3, delta_t=100)
)
