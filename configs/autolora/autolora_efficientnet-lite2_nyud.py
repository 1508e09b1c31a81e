# One LoRA for all tasks in every inverted residual. Up to the middle of training, weights of
# its components are learned on a tenth of the training pictures; those that weigh less than
# 1 / 16 are dropped.
_base_ = '../lora/lora_efficientnet-lite2_nyud.py'
default_hooks = dict(ranks=dict(type='AutoLoRAHook', holdout=0.1, until=0.5))
