# One LoRA for all tasks in every block, trained for every rank up to 16 at once.
# To cut it: python tools/model_converters/publish_model.py CKPT.pth OUT.safetensors --rank R.
_base_ = '../lora/lora_swin-t_nyud.py'
default_hooks = dict(ranks=dict(type='DyLoRAHook'))
