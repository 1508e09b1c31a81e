# Swin-T on PASCAL-Context.
_base_ = [
    '../models/swin-t.py',
    '../datasets/pascal_context_mt.py',
    '../schedules/mtlora_300e.py',
    '../default_runtime.py',
]
model = dict(tasks={{_base_.tasks}})
