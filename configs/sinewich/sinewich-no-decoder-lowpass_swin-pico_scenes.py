# Ours: the low-pass for the adapters alone, not for the first convolution of the heads.
_base_ = './sinewich_swin-pico_scenes.py'
model = dict(decoder=dict(lowpass=False))
