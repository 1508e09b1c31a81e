# EfficientNet-Lite2 on NYUDv2 at a small size.
_base_ = [
    '../models/efficientnet-lite2.py',
    '../datasets/nyud_mt_small.py',
    '../schedules/nyud_short.py',
    '../default_runtime.py',
]
model = dict(tasks={{_base_.tasks}})
