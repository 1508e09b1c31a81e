# PASCAL-Context as MTLoRA's released code has it (arXiv 2403.20320), where that differs from
# pascal_context_mt.py: docs/protocol.md says by how much. The two files that say whose normals
# count are that release's, and no part of this package.
_base_ = './pascal_context_mt.py'
tasks = dict(
    semseg=dict(num_classes=21, metric=dict(type='SegmentationMetric', absent='zero')),
    human_parts=dict(metric=dict(type='SegmentationMetric', absent='zero')),
    sal=dict(metric=dict(type='SaliencyMetric', f_measure='even')),
    normals=dict(),
)
normals_classes = ('data/db_info/nyu_classes.json', 'data/db_info/context_classes.json')
resize = dict(type='MTResize', size={{_base_.size}}, interpolation='cubic', nearest='corner')
train_pipeline = [
    dict(type='MTRandomFlip', prob=0.5),
    dict(
        type='MTRandomScaleRotate',
        angles=(-20, 20),
        scales=(0.75, 1.25),
        outside='zero',
        interpolation='cubic',
    ),
    resize,
    dict(type='MTIgnoreEmpty', tasks=['human_parts']),
    dict(type='PackMultiTaskInputs'),
]
test_pipeline = [
    resize,
    dict(type='MTIgnoreEmpty', tasks=['human_parts']),
    dict(type='PackMultiTaskInputs'),
]
common = dict(tasks=tasks, normals_classes=normals_classes, edges='laplacian')
train_dataloader = dict(dataset=dict(pipeline=train_pipeline, **common))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline, **common))
test_dataloader = val_dataloader
val_evaluator = dict(tasks=tasks)
test_evaluator = val_evaluator
del resize, normals_classes, common
