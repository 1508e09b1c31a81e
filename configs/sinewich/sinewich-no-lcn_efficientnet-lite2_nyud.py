# Ablation "w/o LCN": each task learns its frequency itself, without Clock Net.
_base_ = './sinewich_efficientnet-lite2_nyud.py'
model = dict(backbone=dict(clock=dict(lcn=False)))
