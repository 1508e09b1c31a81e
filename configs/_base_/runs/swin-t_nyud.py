# Swin-T on NYUDv2.
_base_ = [
    '../models/swin-t.py',
    '../datasets/nyud_mt.py',
    '../schedules/mtlora_300e.py',
    '../default_runtime.py',
]
model = dict(tasks={{_base_.tasks}})
