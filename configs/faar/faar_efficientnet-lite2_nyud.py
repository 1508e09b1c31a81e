# FAAR: DoRA from rank 16, PDRS with rho .95, TS-PD with XT-Cons.
# A short run shrinks 15 times within its first third and trains on at the small ranks, as the
# paper's long one does.
_base_ = './faar-pdrs-dora_efficientnet-lite2_nyud.py'
model = dict(img_size={{_base_.size}}, necks=[*_base_.model.necks, dict(type='TSPD')])
