# The low-pass in full for the first convolution of the heads too, instead of a learnt share of it.
_base_ = './sinewich_efficientnet-lite2_nyud.py'
model = dict(decoder=dict(lowpass=True))
