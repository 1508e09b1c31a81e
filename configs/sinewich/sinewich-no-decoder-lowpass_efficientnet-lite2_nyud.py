# Ours: the low-pass for the adapters alone, not for the first convolution of the heads.
_base_ = './sinewich_efficientnet-lite2_nyud.py'
model = dict(decoder=dict(lowpass=False))
