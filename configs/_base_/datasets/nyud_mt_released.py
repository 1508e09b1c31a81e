# NYUDv2 as MTLoRA's released code has it (arXiv 2403.20320), where that differs from nyud_mt.py:
# docs/protocol.md says by how much.
_base_ = './nyud_mt.py'
tasks = dict(
    semseg=dict(num_classes=40, metric=dict(type='SegmentationMetric', absent='zero')),
    depth=dict(),
    normals=dict(),
)
resize = dict(
    type='MTResize',
    size={{_base_.size}},
    interpolation='cubic',
    nearest='corner',
    label_interpolation=dict(depth='nearest'),
)
train_pipeline = [
    dict(type='MTRandomFlip', prob=0.5),
    dict(type='MTRandomScaleCrop', scales=(1, 1.2, 1.5), window='centre', interpolation='cubic'),
    resize,
    dict(type='PackMultiTaskInputs'),
]
test_pipeline = [resize, dict(type='PackMultiTaskInputs')]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline, tasks=tasks))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline, tasks=tasks))
test_dataloader = val_dataloader
val_evaluator = dict(tasks=tasks)
test_evaluator = val_evaluator
del resize
