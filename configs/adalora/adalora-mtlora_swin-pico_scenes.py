# MTLoRA's layers, whose components compete for AdaLoRA's budget, those of all tasks with those of
# each: from shared rank 12 and task rank 6 to a mean of 4.
_base_ = '../mtlora/mtlora_swin-pico_scenes.py'
model = dict(
    backbone=dict(
        plugins=dict(shared=dict(cfg=dict(rank=12)), lanes=dict(cfg=dict(rank=12, task_rank=6)))
    )
)
default_hooks = dict(
    ranks=dict(type='AdaLoRAHook', target_rank=4, t_initial=0.1, t_final=0.3, delta_t=10)
)
