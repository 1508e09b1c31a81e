"""Renderings against closed forms, an independent march, and their own definitions."""

import colorsys
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from helpers.scene_oracle import inside

from mtpeft.datasets.scenes import (
    CLASSES,
    LABEL_SPACES,
    SceneSource,
    class_numbers,
    make_label,
    make_labels,
    random_scene,
    render,
)
from mtpeft.datasets.scenes.classes import CLASS_INDEX, IS_THING
from mtpeft.datasets.scenes.geometry import box, ellipsoid
from mtpeft.datasets.scenes.scene import Camera, Element, Light, Scene, Thing
from mtpeft.datasets.scenes.textures import PATTERNS, SECTORS, SKIN, Material

H, W = 60, 76
SIZE = np.array([4.0, 6.0, 3.0])


def room(*shapes, camera=None, light=None) -> Scene:
    things = tuple(Thing('box', (Element(s, Material((0.5, 0.4, 0.3))),)) for s in shapes)
    camera = camera or Camera(np.array([2.0, 0.5, 1.4]), 0.1, -0.15, 0.05, 1.1)
    light = light or Light(np.array([2.0, 1.0, 2.8]))
    plain = Material((0.8, 0.8, 0.8))
    noise = np.zeros((4, 4), np.float32)
    return Scene(SIZE, (plain,) * 6, things, camera, light, noise)


def rays_of(scene, r) -> np.ndarray:
    """World directions ``(H, W, 3)`` of camera points at depth 1, from the intrinsics."""
    h, w = r.depth.shape
    v, u = np.mgrid[:h, :w]
    pixels = np.stack([u, v, np.ones_like(u)], -1).astype(float)
    return pixels @ np.linalg.inv(r.intrinsics).T @ scene.camera.rotation.T


def to_world(scene, normals) -> np.ndarray:
    return normals @ scene.camera.rotation.T


def test_camera_axes_are_right_down_forward():
    axes = Camera(np.zeros(3)).rotation
    assert np.allclose(axes.T, [[1, 0, 0], [0, 0, -1], [0, 1, 0]])
    up = Camera(np.zeros(3), pitch=0.3).rotation
    left = Camera(np.zeros(3), yaw=0.3).rotation
    assert up[2, 2] > 0 and left[0, 2] < 0
    assert np.allclose(up.T @ up, np.eye(3)) and np.linalg.det(left) > 0


def test_field_of_view_spans_the_shorter_side():
    k = Camera(np.zeros(3), fov=1.0).intrinsics(50, 80)
    edge = (np.array([k[0, 2], -0.5, 1]) - [k[0, 2], k[1, 2], 0]) / [1, k[1, 1], 1]
    assert np.isclose(np.arctan(-edge[1]), 0.5)


def test_ball_matches_the_closed_form():
    center, radius = np.array([2.2, 3.0, 1.2]), 0.6
    scene = room(ellipsoid(center, (radius,) * 3))
    r = render(scene, H, W)
    rays = rays_of(scene, r)
    o = scene.camera.position - center
    a, b, c = (rays**2).sum(-1), rays @ o, o @ o - radius**2
    disc = b * b - a * c
    seen = disc > 1e-4
    t = (-b - np.sqrt(np.where(seen, disc, 1))) / a
    assert seen.sum() > 150
    assert (r.instance[seen] == 6).all() and (r.instance[disc < -1e-4] < 6).all()
    assert np.abs(r.depth[seen] - t[seen]).max() < 1e-4
    want = (o + t[..., None] * rays) / radius
    assert np.abs(to_world(scene, r.normals)[seen] - want[seen]).max() < 2e-3


def test_box_matches_the_closed_form():
    center, half = np.array([2.8, 2.6, 0.5]), np.array([0.4, 0.4, 0.4])
    scene = room(box(center, 2 * half))
    r = render(scene, H, W)
    rays = rays_of(scene, r)
    o = scene.camera.position - center
    # The camera is before the front (-y), to the left or right, and above.
    best, normal = np.full((H, W), np.inf), np.zeros((H, W, 3))
    for axis in range(3):
        sign = np.sign(o[axis])
        t = (sign * half[axis] - o[axis]) / rays[..., axis]
        hit = np.abs(o + t[..., None] * rays) <= half + 1e-9
        hit = np.delete(hit, axis, -1).all(-1) & (t > 0) & (sign * rays[..., axis] < 0) & (t < best)
        best[hit] = t[hit]
        normal[hit] = sign * np.eye(3)[axis]
    seen = np.isfinite(best)
    # The outline is a matter of rounding.
    assert (seen != (r.instance == 6)).sum() <= 3
    seen &= r.instance == 6
    assert seen.sum() > 250
    assert np.abs(r.depth[seen] - best[seen]).max() < 1e-4
    agree = np.abs(to_world(scene, r.normals) - normal).max(-1)[seen] < 1e-5
    assert agree.mean() > 0.99
    assert len(np.unique(normal[seen], axis=0)) >= 3


def test_room_points_lie_on_the_planes_their_normals_name():
    scene = room()
    r = render(scene, H, W)
    points = scene.camera.position + r.depth[..., None] * rays_of(scene, r)
    world = to_world(scene, r.normals)
    for face in np.unique(r.instance):
        at = r.instance == face
        normal = np.zeros(3)
        normal[face // 2] = 1 - 2 * (face % 2)
        assert np.abs(world[at] - normal).max() < 1e-6
        anchor = SIZE * (face % 2)
        assert np.abs((points[at] - anchor) @ normal).max() < 1e-5
    assert len(np.unique(r.instance)) >= 4


def test_depth_differences_agree_with_normals():
    """n . (P - P0) = 0 for neighbours on one face, from depth and intrinsics alone."""
    for index in range(4):
        r = render(random_scene(1, index), 64, 64)
        v, u = np.mgrid[:64, :64]
        points = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(r.intrinsics).T
        points = points * r.depth[..., None].astype(float)
        flat = r.instance[:, 1:] == r.instance[:, :-1]
        flat &= (r.instance[:, 1:] < 6) & (r.instance[:, :-1] < 6)
        step = points[:, 1:] - points[:, :-1]
        off = np.abs((step * r.normals[:, 1:]).sum(-1))
        assert flat.sum() > 500
        assert off[flat].max() < 1e-4


def test_random_scenes_agree_with_a_march_through_their_solids():
    """A few pixels in float64: nothing before the surface, something or the wall behind it."""
    rng, things = np.random.default_rng(0), 0
    for index in range(3):
        scene = random_scene(2, index)
        r = render(scene, 40, 40)
        rays = rays_of(scene, r)
        solids = [(6 + i, e.shape) for i, t in enumerate(scene.things) for e in t.elements]
        for row, column in rng.integers(0, 40, (25, 2)):
            ray, depth = rays[row, column], float(r.depth[row, column])
            before = scene.camera.position + np.arange(0.06, depth - 2e-3, 3e-3)[:, None] * ray
            assert not any(inside(shape, before).any() for _, shape in solids)
            assert ((before > 0) & (before < scene.size)).all()
            behind = scene.camera.position + (depth + 1e-3) * ray
            number = r.instance[row, column]
            if number < 6:
                assert not ((behind > 0) & (behind < scene.size)).all()
                continue
            things += 1
            chord = scene.camera.position + (depth + np.linspace(0, 1e-2, 30))[:, None] * ray
            assert any(inside(s, chord).any() for n, s in solids if n == number)
    assert things > 15


def test_every_buffer_is_where_it_should_be():
    for index in range(12):
        r = render(random_scene(3, index), 48, 40)
        assert np.allclose(np.linalg.norm(r.normals, axis=-1), 1, atol=1e-5)
        v, u = np.mgrid[:48, :40]
        rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(r.intrinsics).T
        assert ((rays * r.normals).sum(-1) <= 1e-6).all()
        assert np.isfinite(r.depth).all() and r.depth.min() > 0.05 and r.depth.max() < 20
        assert r.albedo.min() > 0 and r.albedo.max() < 1 and r.shading.min() > 0
        person = r.scene_class == CLASS_INDEX['person']
        assert ((r.part > 0) == person).all() and r.part.max() <= 6
        assert r.image.dtype == np.uint8 and r.depth.dtype == r.normals.dtype == np.float32


def test_image_is_albedo_times_shading_plus_highlights():
    for index in range(6):
        r = render(random_scene(4, index), 48, 48)
        value = r.albedo.astype(float) * r.shading[..., None] + r.specular[..., None]
        assert np.abs(np.clip(value, 0, 1) * 255 - r.image).max() < 0.51
        assert (r.specular == 0).mean() > 0.5


def test_highlight_lies_where_the_lamp_is_mirrored():
    glossy = Material((0.5, 0.4, 0.3), specular=0.5)
    ball = Thing('ball', (Element(ellipsoid((2.2, 3, 1.2), (0.6,) * 3), glossy),))
    scene = replace(room(), things=(ball,))
    r = render(scene, H, W)
    row, column = np.unravel_index(r.specular.argmax(), (H, W))
    normal, ray = to_world(scene, r.normals)[row, column], rays_of(scene, r)[row, column]
    to_lamp = scene.light.position - (scene.camera.position + r.depth[row, column] * ray)
    mirrored = ray - 2 * (ray @ normal) * normal
    cosine = mirrored @ to_lamp / np.linalg.norm(mirrored) / np.linalg.norm(to_lamp)
    assert 0.4 < r.specular.max() <= 0.5 and cosine > 0.97
    assert (r.specular[r.instance < 6] == 0).all()


def test_shadow_lies_where_the_lamp_is_hidden():
    ball = np.array([2.0, 3.0, 1.5])
    scene = room(ellipsoid(ball, (0.5,) * 3))
    r = render(scene, H, W)
    points = scene.camera.position + r.depth[..., None] * rays_of(scene, r)
    lamp = scene.light.position
    d = points - lamp
    along = np.clip(((ball - lamp) * d).sum(-1) / (d * d).sum(-1), 0, 1)
    gap = np.linalg.norm(lamp + along[..., None] * d - ball, axis=-1)
    room_pixels = r.instance < 6
    open_scene = replace(scene, things=())
    open_shading = render(open_scene, H, W).shading
    dark = room_pixels & (gap < 0.49)
    light = room_pixels & (gap > 0.51)
    assert dark.sum() > 30
    assert (r.shading[dark] < open_shading[dark] - 0.05).all()
    assert np.allclose(r.shading[light], open_shading[light])


def test_supersampling_averages_and_leaves_the_labels_alone():
    scene = random_scene(0, 3)
    plain, fine, double = render(scene, 32, 40), render(scene, 32, 40, 2), render(scene, 64, 80)
    assert (plain.depth == fine.depth).all() and (plain.instance == fine.instance).all()
    want = double.image.reshape(32, 2, 40, 2, 3).astype(float).mean((1, 3))
    assert np.abs(fine.image - want).max() <= 0.5
    assert (fine.image != plain.image).any()


@pytest.mark.parametrize('height, width', [(1, 1), (1, 33), (40, 7)])
def test_any_size(height, width):
    r = render(random_scene(0, 1), height, width)
    assert r.image.shape == (height, width, 3)


def test_size_scales_the_same_scene():
    scene = random_scene(0, 7)
    small, large = render(scene, 33, 33), render(scene, 99, 99)
    # The middle of a small pixel is the middle of the middle one of 3 x 3.
    assert (large.instance[1::3, 1::3] == small.instance).mean() > 0.995
    assert np.median(np.abs(large.depth[1::3, 1::3] - small.depth)) < 1e-5


@pytest.mark.parametrize('size, supersample', [((0, 4), 1), ((4, -1), 1), ((4, 4), 3)])
def test_bad_options_are_refused(size, supersample):
    with pytest.raises(ValueError, match='Expected'):
        render(room(), *size, supersample)


PROGRAM = """
import hashlib
from mtpeft.datasets.scenes import SceneSource, make_labels
def digests(order):
    source, found = SceneSource((24, 32), seed=11), {}
    for index in order:
        r = source.render(index)
        arrays = [r.image, *make_labels(r).values()]
        found[index] = hashlib.sha256(b''.join(a.tobytes() for a in arrays)).hexdigest()
    return sorted(found.items())
"""


def test_same_arrays_in_any_process_and_order():
    scope = {}
    exec(PROGRAM, scope)
    here = scope['digests']((0, 1, 2))
    run = subprocess.run(
        [sys.executable, '-c', PROGRAM + "print('DIGEST', digests((2, 0, 1, 2)))"],
        capture_output=True, text=True, check=True, env={**os.environ, 'OMP_NUM_THREADS': '2'},
    )  # fmt: skip
    assert run.stdout.split('DIGEST')[1].strip() == str(here)
    assert len({digest for _, digest in here}) == 3


def test_seed_index_and_texture_set_all_matter():
    images = [
        SceneSource((24, 24), seed, textures).render(index).image.tobytes()
        for seed in (0, 1) for index in (0, 1) for textures in 'ab'
    ]  # fmt: skip
    assert len(set(images)) == 8


def test_texture_sets_share_no_pattern_and_no_hue():
    assert not set(PATTERNS['a']) & set(PATTERNS['b'])
    assert not set(PATTERNS['a'].values()) & set(PATTERNS['b'].values())
    assert not set(SKIN['a']) & set(SKIN['b'])
    for number, textures in enumerate('ab'):
        patterns, skins = set(), {tuple(s) for s in SKIN[textures]}
        for index in range(30):
            scene = random_scene(0, index, textures)
            things = [e.material for thing in scene.things for e in thing.elements]
            for m in (*scene.surfaces, *things):
                patterns.add(m.pattern)
                for color in (m.color, m.second):
                    hue, saturation, _ = colorsys.rgb_to_hsv(*color)
                    if tuple(color) not in skins and saturation > 0.01:
                        assert int(hue * SECTORS) % 2 == number, m
        assert patterns - {'plain'} <= set(PATTERNS[textures])
        assert len(patterns) > 4


@pytest.mark.parametrize('space, classes', LABEL_SPACES.items())
def test_classes_are_in_range_and_many_occur(space, classes):
    numbers = class_numbers(space)
    assert numbers.min() >= 0 and numbers.max() < classes
    seen = set()
    for index in range(25):
        r = render(random_scene(5, index), 24, 24)
        label = make_label(r, 'semseg', space)
        assert label.dtype == np.uint8
        seen |= set(np.unique(label))
    assert seen <= set(numbers.tolist()) and len(seen) >= 7


def test_context_numbers_tell_the_classes_apart():
    assert len({c.context for c in CLASSES}) == len(CLASSES)
    assert CLASSES[CLASS_INDEX['person']].pascal == 15


def test_people_of_all_parts_occur():
    parts, pictures = set(), 0
    for index in range(20):
        part = render(random_scene(6, index), 48, 48).part
        parts |= set(np.unique(part))
        pictures += part.any()
    assert parts == set(range(7)) and pictures >= 10


def test_salient_thing_has_the_largest_weighted_area():
    chosen = 0
    for index in range(8):
        r = render(random_scene(7, index), 40, 56)
        labels = make_labels(r)
        scores = {}
        for row in range(40):
            for column in range(56):
                if IS_THING[r.scene_class[row, column]]:
                    d2 = ((row - 19.5) ** 2 + (column - 27.5) ** 2) / 40**2
                    key = int(r.instance[row, column])
                    scores[key] = scores.get(key, 0) + np.exp(-d2 / (2 * 0.3**2))
        best = max(scores, key=scores.get) if scores else None
        assert (labels['sal'] == (r.instance == best)).all()
        chosen += best is not None
    assert chosen >= 6


def test_without_things_nothing_is_salient():
    assert not make_label(render(room(), 8, 8), 'sal').any()


def test_edges_are_the_boundaries_of_instances():
    r = render(random_scene(0, 3), 30, 34)
    edge = make_label(r, 'edge')
    for row in range(30):
        for column in range(34):
            here = r.instance[row, column]
            right = column < 33 and r.instance[row, column + 1] != here
            below = row < 29 and r.instance[row + 1, column] != here
            assert edge[row, column] == (right or below)
    assert 0.01 < edge.mean() < 0.4
