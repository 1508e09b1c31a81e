_base_ = [
    '../_base_/models/swin-t.py',
    '../_base_/datasets/pascal_context_mt.py',
    '../_base_/schedules/mtlora_300e.py',
    '../_base_/default_runtime.py',
]

# One LoRA for all tasks in every block, trained for every rank up to 16 at once.
# To cut it: python tools/model_converters/publish_model.py CKPT.pth OUT.safetensors --rank R.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(
                cfg=dict(type='LoRA', rank=16, scale=4.0, dropout=0.05),
                targets=['qkv', 'proj', 'fc1', 'fc2'],
            )
        ]
    ),
)
default_hooks = dict(ranks=dict(type='DyLoRAHook'))
