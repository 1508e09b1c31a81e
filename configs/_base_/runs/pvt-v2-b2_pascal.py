# PVT v2 B2 on PASCAL-Context.
_base_ = [
    '../models/pvt-v2-b2.py',
    '../datasets/pascal_context_mt.py',
    '../schedules/mtlora_300e.py',
    '../default_runtime.py',
]
model = dict(tasks={{_base_.tasks}})
