_base_ = [
    '../_base_/models/efficientnet-lite2.py',
    '../_base_/datasets/nyud_mt_small.py',
    '../_base_/schedules/nyud_short.py',
    '../_base_/default_runtime.py',
]

# One LoRA for all tasks in every inverted residual, trained for every rank up to 16 at once.
# To cut it: python tools/model_converters/publish_model.py CKPT.pth OUT.safetensors --rank R.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(
                cfg=dict(type='LoRA', rank=16, scale=4.0, dropout=0.05),
                targets=['expand', 'project'],
            )
        ]
    ),
)
default_hooks = dict(ranks=dict(type='DyLoRAHook'))
