# MTLoRA's protocol on PASCAL-Context with Swin-T; recipe: configs/_base_/schedules/mtlora_300e.py.
data = 'PASCAL-Context'
seeds = [0]
entries = [
    dict(
        label=f'single_task_{task}',
        config=f'../single_task/{task}_swin-t_pascal.py',
        role='single_task',
    )
    for task in ('semseg', 'human_parts', 'sal', 'normals')
] + [
    dict(label=label, config=f'../{folder}/{label}_swin-t_pascal.py')
    for folder, label in (
        ('full_finetune', 'full_finetune'),
        ('decoders_only', 'decoders_only'),
        ('lora', 'lora'),
        ('mtlora', 'mtlora-r16'),
        ('mtlora', 'mtlora-r32'),
        ('mtlora', 'mtlora-r64'),
        ('mtlora', 'mtlora-plus-r64'),
        ('sinewich', 'sinewich-r16'),
        ('sinewich', 'sinewich-r32'),
        ('sinewich', 'sinewich-r64'),
        ('sinewich', 'sinewich-pointwise'),
        ('sinewich', 'sinewich-no-lcn'),
        ('sinewich', 'sinewich-no-lowpass'),
        ('sinewich', 'sinewich-no-sine'),
        ('sinewich', 'sinewich-independent-base'),
        ('sinewich', 'sinewich-independent-decoder'),
        ('union', 'union'),
        ('tadformer', 'tadformer-r16'),
        ('tadformer', 'tadformer-r32'),
        ('tadformer', 'tadformer-r64'),
        ('ditask', 'ditask'),
        ('ditask', 'ditask-single'),
        ('ditask', 'ditask-value'),
        ('sine-lora', 'sine-lora'),
        ('adalora', 'adalora'),
        ('dylora', 'dylora'),
        ('autolora', 'autolora'),
        ('bitfit', 'bitfit'),
        ('vpt', 'vpt-shallow'),
        ('vpt', 'vpt-deep'),
        ('adapter', 'adapter'),
        ('compacter', 'compacter'),
        ('compacter', 'compacter-plus-plus'),
        ('vl-adapter', 'vl-adapter'),
        ('vl-adapter', 'vl-adapter-half'),
        ('hyperformer', 'hyperformer'),
        ('polyhistor', 'polyhistor'),
        ('polyhistor', 'polyhistor-lite'),
    )
]
