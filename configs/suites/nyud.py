# Every method on NYUDv2 with EfficientNet-Lite2; size, epochs and batch are those of the configs.
data = 'NYUDv2'
seeds = [0]
entries = (
    [
        dict(
            label=f'single_task_{task}',
            config=f'../single_task/{task}_efficientnet-lite2_nyud.py',
            role='single_task',
        )
        for task in ('semseg', 'depth', 'normals')
    ]
    + [
        dict(label=label, config=f'../{label}/{label}_efficientnet-lite2_nyud.py')
        for label in ('full_finetune', 'decoders_only', 'lora', 'mtlora')
    ]
    + [
        dict(label=label, config=f'../faar/{label}_efficientnet-lite2_nyud.py')
        for label in (
            'faar-dora',
            'faar-pdrs-lora',
            'faar-pdrs-dora',
            'faar-cw-sp',
            'faar-ts-pd',
            'faar',
            'faar-plus',
        )
    ]
    + [
        dict(label=label, config=f'../{folder}/{label}_efficientnet-lite2_nyud.py')
        for folder, label in (
            ('sinewich', 'sinewich'),
            ('sinewich', 'sinewich-no-lcn'),
            ('sinewich', 'sinewich-no-lowpass'),
            ('sinewich', 'sinewich-decoder-lowpass'),
            ('sinewich', 'sinewich-no-decoder-lowpass'),
            ('sinewich', 'sinewich-pointwise'),
            ('sinewich', 'sinewich-project'),
            ('sinewich', 'sinewich-no-sine'),
            ('sinewich', 'sinewich-independent-base'),
            ('sinewich', 'sinewich-independent-decoder'),
            ('union', 'union'),
            ('ditask', 'ditask'),
            ('sine-lora', 'sine-lora'),
            ('adalora', 'adalora'),
            ('dylora', 'dylora'),
            ('autolora', 'autolora'),
            ('bitfit', 'bitfit'),
            ('adapter', 'adapter'),
            ('compacter', 'compacter'),
            ('vl-adapter', 'vl-adapter'),
            ('vl-adapter', 'vl-adapter-half'),
            ('hyperformer', 'hyperformer'),
            ('polyhistor', 'polyhistor'),
            ('polyhistor', 'polyhistor-lite'),
        )
    ]
    + [
        # what the pretrained weights are worth
        dict(
            label='decoders_only_random',
            config='../decoders_only/decoders_only_efficientnet-lite2_nyud.py',
            cfg_options={'model.backbone.backbone.pretrained': False},
        )
    ]
)
