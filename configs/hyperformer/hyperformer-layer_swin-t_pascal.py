# A generator for each layer, on the embedding of the task alone; every task runs the whole network.
_base_ = './hyperformer_swin-t_pascal.py'
model = dict(backbone=dict(plugins=dict(lanes=dict(cfg=dict(generators='layer')))))
