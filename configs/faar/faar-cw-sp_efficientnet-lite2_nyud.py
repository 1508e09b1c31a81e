# Ablation "+ TS-PD" without XT-Cons: the spectral filters alone, on MTLoRA.
_base_ = './faar-ts-pd_efficientnet-lite2_nyud.py'
model = dict(necks=[_base_.model.necks[0], dict(type='TSPD', xt_cons=None)])
