# Ablation "+ TS-PD": MTLoRA with the spectral decoder before its heads.
_base_ = '../mtlora/mtlora_swin-pico_scenes.py'
model = dict(img_size={{_base_.size}}, necks=[*_base_.model.necks, dict(type='TSPD')])
