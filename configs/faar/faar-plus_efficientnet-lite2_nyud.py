# faar+, our own step beyond FAAR: ranks shrink by what components are worth, until giving up more
# would cost more than 1 % of it; or, with `budget`, down to so many effective parameters
# (docs/methods/faar.md).
_base_ = './faar_efficientnet-lite2_nyud.py'
default_hooks = dict(
    pdrs=dict(_delete_=True, type='PDRSPlusHook', eps=0.01, by_epoch=False, shrink_every=66)
)
