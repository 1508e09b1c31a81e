# TADFormer (arXiv 2501.04293) at rank 16: a prompt a task in every window, and one A and B for all
# tasks, with the dynamic task filter between them in the last block of each stage.
_base_ = ['../_base_/runs/swin-t_pascal.py', '../_base_/methods/tadformer.py']
_base_.plugins.shared.cfg.rank = _base_.plugins.lanes.cfg.rank = 16
model = dict(backbone=dict(type='TADFormerBackbone', plugins=_base_.pop('plugins')))
