# Ablation "+ TS-PD": MTLoRA with the spectral decoder before its heads.
_base_ = '../mtlora/mtlora-r64_swin-t_pascal.py'
model = dict(img_size={{_base_.size}}, necks=[*_base_.model.necks, dict(type='TSPD')])
optim_wrapper = dict(optimizer=dict(lr=5e-4))
