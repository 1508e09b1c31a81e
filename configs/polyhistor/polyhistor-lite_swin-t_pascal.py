# One template adapter from decomposed hypernetworks, and a scaling kernel for each layer; every
# task runs the whole network.
_base_ = './polyhistor_swin-t_pascal.py'
model = dict(backbone=dict(plugins=dict(lanes=dict(cfg=dict(lite=True)))))
