_base_ = [
    '../_base_/models/efficientnet-lite2.py',
    '../_base_/datasets/nyud_mt_small.py',
    '../_base_/schedules/nyud_short.py',
    '../_base_/default_runtime.py',
]

# Single adapter: one bottleneck adapter for all tasks behind the projection of every inverted
# residual; the tasks part only at their heads.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(plugins=[dict(cfg=dict(type='VLAdapter', reduction=8), targets=['project'])]),
)
