# Every method on the embedded scenes, with the recipe of configs/_base_/schedules/scenes_short.py.
data = 'ScenesMT'
seeds = [0]
entries = [
    dict(
        label=f'single_task_{task}',
        config=f'../single_task/{task}_swin-pico_scenes.py',
        role='single_task',
    )
    for task in ('semseg', 'human_parts', 'sal', 'normals', 'depth', 'edge')
] + [
    dict(label=label, config=f'../{folder}/{label}_swin-pico_scenes.py')
    for folder, label in (
        ('full_finetune', 'full_finetune'),
        ('decoders_only', 'decoders_only'),
        ('lora', 'lora'),
        ('mtlora', 'mtlora'),
        ('mtlora', 'mtlora-plus'),
        ('faar', 'faar-dora'),
        ('faar', 'faar-pdrs-lora'),
        ('faar', 'faar-pdrs-dora'),
        ('faar', 'faar-cw-sp'),
        ('faar', 'faar-ts-pd'),
        ('faar', 'faar'),
        ('faar', 'faar-plus'),
        ('sinewich', 'sinewich'),
        ('sinewich', 'sinewich-no-lcn'),
        ('sinewich', 'sinewich-no-lowpass'),
        ('sinewich', 'sinewich-decoder-lowpass'),
        ('sinewich', 'sinewich-no-decoder-lowpass'),
        ('sinewich', 'sinewich-pointwise'),
        ('sinewich', 'sinewich-fc2'),
        ('sinewich', 'sinewich-no-sine'),
        ('sinewich', 'sinewich-independent-base'),
        ('sinewich', 'sinewich-independent-decoder'),
        ('union', 'union'),
        ('tadformer', 'tadformer'),
        ('ditask', 'ditask'),
        ('ditask', 'ditask-single'),
        ('ditask', 'ditask-value'),
        ('sine-lora', 'sine-lora'),
        ('adalora', 'adalora'),
        ('adalora', 'adalora-mtlora'),
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
