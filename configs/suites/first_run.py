# README's first run with its baselines, by the recipe of configs/_base_/schedules/scenes_short.py.
data = 'ScenesMT'
seeds = [0]
entries = [
    dict(
        label=f'single_task_{task}',
        config=f'../single_task/{task}_efficientnet-lite2_scenes.py',
        role='single_task',
    )
    for task in ('semseg', 'human_parts', 'sal', 'normals', 'depth', 'edge')
] + [
    dict(label=label, config=f'../{label}/{label}_efficientnet-lite2_scenes.py')
    for label in ('faar', 'mtlora', 'sinewich')
]
