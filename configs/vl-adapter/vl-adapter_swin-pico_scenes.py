_base_ = [
    '../_base_/models/swin-pico.py',
    '../_base_/datasets/scenes_mt.py',
    '../_base_/schedules/scenes_short.py',
    '../_base_/default_runtime.py',
]

# Single adapter: one bottleneck adapter for all tasks after attention and one after the MLP of
# every block; the tasks part only at their heads.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(plugins=[dict(cfg=dict(type='VLAdapter', reduction=4), targets=['proj', 'fc2'])]),
)
