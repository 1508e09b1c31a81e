# Half-shared adapter: all tasks have one W_down and each its own W_up; every task runs the whole
# network.
_base_ = './vl-adapter_swin-pico_scenes.py'
model = dict(backbone=dict(plugins=dict(shared=dict(lanes='task')), streams='network'))
