"""How large are the differences to released code that docs/protocol.md lists?

Each part prints what it measured. Labels come from the validation set of NYUDv2 in the NYUD_MT
layout, predictions from a network trained by configs/single_task/semseg_efficientnet-lite2_nyud.py
and from the adapters that mtpeft ships, on the embedded scenes.

    python docs/measure_protocol.py labels --nyud data/NYUD_MT
    python docs/measure_protocol.py semseg --nyud data/NYUD_MT --checkpoint CHECKPOINT
    python docs/measure_protocol.py frame
    python docs/measure_protocol.py figures
"""

import argparse
import dataclasses

import cv2
import numpy as np
import torch
from mmengine.logging import MMLogger

from mtpeft.apis import MultiTaskInferencer, init_model
from mtpeft.datasets import NYUDMT
from mtpeft.datasets.pascal_context_mt import class_borders, laplacian_edges
from mtpeft.evaluation.functional import (
    dilated_edge_compute,
    dilated_edge_update,
    edge_compute,
    edge_update,
    pool,
    saliency_compute,
    saliency_update,
    segmentation_compute,
    segmentation_update,
)
from mtpeft.registry import DATASETS
from mtpeft.structures.levels import resize
from mtpeft.tasks import build_tasks
from mtpeft.transforms.resample import resize_label, warp_label

SIZE = (448, 448)


def nyud(root, tasks=('semseg', 'depth', 'normals')):
    wanted = {name: dict(num_classes=40) if name == 'semseg' else {} for name in tasks}
    return NYUDMT(tasks=wanted, split='val', data_root=root, pipeline=[])


def labels(args):
    """Labels at 448 by one way and by the other."""
    moved, wrapped, by, turned, counts = [], [], [], [], []
    for results in nyud(args.nyud):
        tasks, label = results['tasks'], results['labels']
        ways = [resize_label(label['semseg'], tasks['semseg'], SIZE, w) for w in NEAREST]
        moved.append((ways[0] != ways[1]).mean())
        cubic = cv2.resize(results['img'].astype(float), SIZE[::-1], interpolation=cv2.INTER_CUBIC)
        whole = cubic.astype(int)
        outside = (whole < 0) | (whole > 255)
        wrapped.append(outside.mean())
        # a cast without clipping keeps the last eight bits
        by.append(np.abs(whole % 256 - whole.clip(0, 255))[outside].mean())
        turned.append(normals_angle(label['normals'], tasks['normals']))
        classes = label['semseg'].astype(np.uint16)
        counts.append([e.mean() for e in (class_borders(classes), laplacian_edges(classes))])
    print(f'semseg at 448, nearest by corner in place of centre: {np.mean(moved):.2%} of pixels')
    print(f'cubic without clipping: {np.mean(wrapped):.3%} of values wrap, by {np.nanmean(by):.0f}')
    print(f'normals at 448, cubic in place of linear: {np.mean(turned):.2f} degrees in the mean')
    borders, laplacian = 100 * np.mean(counts, 0)
    print(f'edges: {borders:.2f} % of pixels are borders, {laplacian:.2f} % of the Laplacian')
    edges(args)


NEAREST = ('centre', 'corner')


def normals_angle(normals, task):
    ours = resize_label(normals, task, SIZE)
    theirs = cv2.resize(normals.astype(float), SIZE[::-1], interpolation=cv2.INTER_CUBIC)
    theirs /= np.linalg.norm(theirs, axis=-1, keepdims=True) + np.finfo(float).eps
    valid = task.valid(ours, -1)
    return np.degrees(np.arccos((ours * theirs).sum(-1).clip(-1, 1)))[valid].mean()


def edges(args):
    """One label of edges judged as a prediction of the other."""
    found = []
    for index, results in enumerate(nyud(args.nyud, ['semseg'])):
        if index % 10 == 0:
            classes = results['labels']['semseg'].astype(np.uint16)
            one, other = (torch.from_numpy(f(classes)) for f in (class_borders, laplacian_edges))
            everywhere = torch.ones_like(one, dtype=torch.bool)
            found.append(edge_update(one.float(), other, everywhere, [0.5], 0.011))
    print(f'borders as a prediction of the Laplacian: odsF {edge_compute(pool(found))["odsF"]:.1f}')


@torch.no_grad()
def semseg(args):
    """One network's predictions, judged at 448 by either label."""
    model = init_model('configs/single_task/semseg_efficientnet-lite2_nyud.py', args.checkpoint)
    prepare = MultiTaskInferencer(model).prepare
    seen = {way: [] for way in NEAREST}
    for results in nyud(args.nyud, ['semseg']):
        task, batch = results['tasks']['semseg'], prepare(results['img'])
        batch = model.data_preprocessor(
            dict(inputs=[batch['inputs']], data_samples=[batch['data_samples']]), False
        )
        logits = model(batch['inputs'])['semseg']
        pred = resize(logits, SIZE).argmax(1)[0]
        for way in NEAREST:
            label = torch.from_numpy(resize_label(results['labels']['semseg'], task, SIZE, way))
            seen[way].append(segmentation_update(pred, label, label != 255, 40))
    for way in NEAREST:
        pooled = pool(seen[way])
        shown = {a: segmentation_compute(pooled, a)['mIoU'] for a in ('skip', 'zero')}
        print(f'mIoU at 448, nearest by {way}: {shown["skip"]:.3f}, absent classes as 0: '
              f'{shown["zero"]:.3f}')  # fmt: skip


def frame(args):
    """What turning and zooming brings in and takes out, in PASCAL-Context's ranges and NYUD's."""
    rng = np.random.default_rng(0)
    parts = build_tasks(['human_parts'])['human_parts']
    data = DATASETS.build(dict(type='ScenesMT', length=200, size=(96, 96), seed=2, test_mode=True,
                               tasks=['human_parts'], pipeline=[]))  # fmt: skip
    outside, left, with_parts = [], 0, 0
    for results in data:
        label = results['labels'].get('human_parts')
        height, width = results['img'].shape[:2]
        for _ in range(20):
            centre = ((width - 1) / 2, (height - 1) / 2)
            matrix = cv2.getRotationMatrix2D(centre, rng.uniform(-20, 20), rng.uniform(0.75, 1.25))
            inside = np.ones((375, 500), np.uint8)
            own = cv2.getRotationMatrix2D((249.5, 187), *angle_and_scale(matrix))
            outside.append(1 - cv2.warpAffine(inside, own, (500, 375)).mean())
            if label is not None and label[label != 255].any():
                with_parts += 1
                moved = warp_label(label, parts, matrix, (height, width), 0)
                left += not moved[moved != 255].any()
    print(f'pixels from outside, 500 x 375: {np.mean(outside):.1%} of a picture in the mean')
    print(f'scenes with persons of whom no part is left in the frame: {left / with_parts:.2%}')
    for scale in (1.2, 1.5):
        print(f'zoom by {scale} about the centre: {1 - 1 / scale**2:.0%} of a picture never seen')


def angle_and_scale(matrix):
    scale = float(np.hypot(*matrix[0, :2]))
    return float(np.degrees(np.arctan2(matrix[0, 1], matrix[0, 0]))), scale


@torch.no_grad()
def figures(args):
    """Saliency and edges of the shipped adapters by each definition, and depth at 448."""
    model = init_model(checkpoint='mtpeft:faar_efficientnet-lite2_scenes')
    data = DATASETS.build(model.cfg.val_dataloader.dataset)
    sal, benchmark, dilated, squares = [], [], [], []
    for item in data:
        batch = dict(inputs=[item['inputs']], data_samples=[item['data_samples']])
        (sample,) = model.test_step(batch)
        pred, label = (get('sal')[0] for get in (sample.get_pred, sample.get_gt))
        sal.append(saliency_update(pred, label, label != 255))
        pred, label = (get('edge')[0] for get in (sample.get_pred, sample.get_gt))
        common = pred, label, label != 255
        benchmark.append(edge_update(*common, np.linspace(0, 1, 21)[1:-1], 0.0113))
        dilated.append(dilated_edge_update(*common, np.linspace(0, 1, 101), 0.0113))
        squares.append(depth_errors(model.tasks['depth'], sample))
    for name in ('mean', 'even', 'pooled'):
        print(f'saliency, maxF {name}: {saliency_compute(pool(sal), name)["maxF"]:.2f}')
    for name, one, stats in (('benchmark', edge_compute, benchmark),
                             ('dilated', dilated_edge_compute, dilated)):  # fmt: skip
        shown = one(pool(stats))
        print(f'edges, {name}: odsF {shown["odsF"]:.2f}, oisF {shown["oisF"]:.2f}')
    linear, nearest = np.sqrt(np.mean(squares, 0))
    print(f'depth at 448: rmse {linear:.4f} of linear labels, {nearest:.4f} of the nearest')


def depth_errors(task, sample):
    """Mean squared errors at 448, with labels by linear interpolation and by the nearest pixel."""
    pred = resize(sample.get_pred('depth')[None], SIZE)[0, 0].numpy()
    label = sample.get_gt('depth')[0].numpy()
    errors = []
    for mode in ('linear', 'nearest'):
        moved = resize_label(label, dataclasses.replace(task, interpolation=mode), SIZE)
        valid = task.valid(moved)
        errors.append(np.square(pred - moved)[valid].mean())
    return errors


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('part', choices=('labels', 'semseg', 'frame', 'figures'))
    parser.add_argument('--nyud', default='data/NYUD_MT', help='folder of NYUD_MT')
    parser.add_argument('--checkpoint', help='of the network for semantic segmentation')
    args = parser.parse_args()
    MMLogger.get_instance('protocol', log_level='WARNING')
    dict(labels=labels, semseg=semseg, frame=frame, figures=figures)[args.part](args)


if __name__ == '__main__':
    main()
