# Half-shared adapter: all tasks have one W_down and each its own W_up; every task runs the whole
# network.
_base_ = './vl-adapter_swin-t_nyud.py'
model = dict(backbone=dict(plugins=dict(shared=dict(lanes='task')), streams='network'))
