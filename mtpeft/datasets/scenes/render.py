"""Ray casting of a :class:`Scene`: one ray through the centre of every pixel, in float32."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mtpeft.datasets.scenes.classes import CLASS_INDEX
from mtpeft.datasets.scenes.elements import Elements
from mtpeft.datasets.scenes.geometry import intersect, local_normal
from mtpeft.datasets.scenes.lighting import light_surface
from mtpeft.datasets.scenes.scene import Scene
from mtpeft.datasets.scenes.textures import shade_material

_F = np.float32
_FACES = 6
_FACE_CLASSES = ('wall', 'wall', 'wall', 'wall', 'floor', 'ceiling')


@dataclass(frozen=True)
class Rendering:
    """The buffers of one picture.

    Attributes:
        image: ``(H, W, 3)`` uint8, RGB.
        depth: ``(H, W)`` float32, distance along the optical axis (not along the ray), metres.
        normals: ``(H, W, 3)`` float32 unit vectors in camera axes (x right, y down, z forward),
            turned to the camera: their product with the pixel's ray is negative.
        scene_class: ``(H, W)`` uint8 index into ``classes.CLASSES``.
        part: ``(H, W)`` uint8 human part 0..6.
        instance: ``(H, W)`` int16: 0..5 the room's faces, from 6 on the scene's things.
        albedo: ``(H, W, 3)`` float32 in [0, 1], RGB.
        shading: ``(H, W)`` float32; ``image`` is ``albedo * shading + specular``, clipped.
        specular: ``(H, W)`` float32 highlights, the same in every channel.
        intrinsics: ``(3, 3)`` float64; pixels are counted at their centres from 0.
    """

    image: np.ndarray
    depth: np.ndarray
    normals: np.ndarray
    scene_class: np.ndarray
    part: np.ndarray
    instance: np.ndarray
    albedo: np.ndarray
    shading: np.ndarray
    specular: np.ndarray
    intrinsics: np.ndarray


def render(scene: Scene, height: int, width: int, supersample: int = 1) -> Rendering:
    """Render ``scene``.

    Args:
        scene: What to render.
        height, width: Size in pixels.
        supersample: 1, or 2 for an ``image`` averaged over 2 x 2 rays a pixel. All other buffers
            always come from the ray through the pixel's centre.

    Raises:
        ValueError: the size is not positive, or ``supersample`` is neither 1 nor 2.
    """
    if height < 1 or width < 1:
        raise ValueError(f'Expected a positive size, got height={height}, width={width}.')
    if supersample not in (1, 2):
        raise ValueError(f'Expected supersample to be 1 or 2, got {supersample!r}.')
    with np.errstate(all='ignore'):
        out = _render(scene, height, width)
        if supersample == 2:
            fine = _render(scene, 2 * height, 2 * width).image
            total = fine.reshape(height, 2, width, 2, 3).sum((1, 3), dtype=np.uint16)
            out = replace(out, image=((total + 2) // 4).astype(np.uint8))
    return out


def product(matrix: np.ndarray, planes: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """``matrix @ vector`` for vectors in three planes, without BLAS."""
    x, y, z = planes
    return tuple(m[0] * x + m[1] * y + m[2] * z for m in matrix)


def _render(scene: Scene, height: int, width: int) -> Rendering:
    elements = Elements(scene)
    camera = scene.camera
    k = camera.intrinsics(height, width)
    rotation = camera.rotation
    dx = ((np.arange(width) - k[0, 2]) / k[0, 0]).astype(_F)
    dy = ((np.arange(height) - k[1, 2]) / k[1, 1]).astype(_F)
    rays = _directions(rotation, dx, dy)
    depth, hit = _room(scene.size, camera.position, rays)
    origins = elements.origin(camera.position)
    to_local = np.einsum('pij,jk->pik', elements.inverse, rotation)
    rectangles = elements.rectangles(scene, height, width)
    _draw(elements, origins, to_local, rectangles, dx, dy, depth, hit)

    rays = tuple(r.ravel() for r in rays)
    t, hit = depth.ravel(), hit.ravel()
    normals = _normals(elements, origins, t, hit, rays)
    points = tuple(_F(o) + t * r for o, r in zip(camera.position, rays, strict=True))
    tables = _tables(scene, elements)
    albedo, shininess = _albedo(scene, elements, hit, points, normals, tables['instance'][hit])
    shading, specular = light_surface(scene, elements, points, normals, shininess)
    color = albedo * shading[:, None] + specular[:, None]
    image = (np.clip(color, 0, 1) * 255 + _F(0.5)).astype(np.uint8)
    seen = product(rotation.T.astype(_F), normals)
    size = (height, width)
    return Rendering(
        image=image.reshape(*size, 3), depth=depth, normals=np.stack(seen, -1).reshape(*size, 3),
        scene_class=tables['scene_class'][hit].reshape(size),
        part=tables['part'][hit].reshape(size), instance=tables['instance'][hit].reshape(size),
        albedo=albedo.reshape(*size, 3), shading=shading.reshape(size),
        specular=specular.reshape(size), intrinsics=k,
    )  # fmt: skip


def _directions(matrix: np.ndarray, dx: np.ndarray, dy: np.ndarray) -> tuple[np.ndarray, ...]:
    """``matrix @ (dx, dy, 1)`` for a grid, as three planes; t along it is the depth."""
    m = matrix.astype(_F)
    return tuple((m[i, 0] * dx + m[i, 2])[None, :] + (m[i, 1] * dy)[:, None] for i in range(3))


def _room(size: np.ndarray, origin: np.ndarray, rays: tuple) -> tuple[np.ndarray, np.ndarray]:
    """Depth and face number where rays from inside the room leave it."""
    depth = np.full(rays[0].shape, np.inf, _F)
    hit = np.zeros(rays[0].shape, np.int16)
    for axis in range(3):
        d = rays[axis]
        ahead = d > 0
        t = (np.where(ahead, _F(size[axis]), _F(0)) - _F(origin[axis])) / d
        t = np.where(d == 0, _F(np.inf), t)
        nearer = t < depth
        np.copyto(depth, t, where=nearer)
        np.copyto(hit, 2 * axis + ahead, where=nearer, casting='unsafe')
    return depth, hit


def _draw(
    elements: Elements, origins: np.ndarray, to_local: np.ndarray, rectangles: np.ndarray,
    dx: np.ndarray, dy: np.ndarray, depth: np.ndarray, hit: np.ndarray,
) -> None:  # fmt: skip
    """Enter every primitive into the depth buffer, within its own rectangle of pixels."""
    for i in range(elements.count):
        x0, x1, y0, y1 = rectangles[i]
        if x0 >= x1 or y0 >= y1:
            continue
        d = _directions(to_local[i], dx[x0:x1], dy[y0:y1])
        t = intersect(elements.kind[i], origins[i], d, elements.half[i], elements.taper[i])
        window = depth[y0:y1, x0:x1]
        nearer = t < window
        np.copyto(window, t, where=nearer)
        hit[y0:y1, x0:x1][nearer] = i + _FACES


def groups(labels: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Every value of ``labels`` with the indices where it occurs, in ascending order."""
    order = np.argsort(labels, kind='stable')
    ordered = labels[order]
    cuts = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    return [(int(labels[part[0]]), part) for part in np.split(order, cuts)]


def _normals(
    elements: Elements, origins: np.ndarray, t: np.ndarray, hit: np.ndarray, rays: tuple
) -> tuple[np.ndarray, ...]:
    """World normals ``(N,)`` x 3, facing the camera."""
    out = [np.zeros(t.shape, _F) for _ in range(3)]
    for face in range(_FACES):
        out[face // 2][hit == face] = 1 - 2 * (face % 2)
    for number, where in groups(hit):
        if number < _FACES:
            continue
        i = number - _FACES
        inverse = elements.inverse[i].astype(_F)
        d = [r[where] for r in rays]
        p = tuple(origins[i][k] + t[where] * v for k, v in enumerate(product(inverse, d)))
        local = local_normal(elements.kind[i], p, elements.half[i], elements.taper[i])
        world = product(inverse.T, local)
        scale = 1 / np.sqrt(world[0] ** 2 + world[1] ** 2 + world[2] ** 2)
        # At a silhouette rounding may put the normal a hair on the far side.
        away = world[0] * d[0] + world[1] * d[1] + world[2] * d[2] > 0
        scale = np.where(away, -scale, scale)
        for k in range(3):
            out[k][where] = world[k] * scale
    return tuple(out)


def _tables(scene: Scene, elements: Elements) -> dict[str, np.ndarray]:
    """Per primitive (faces first): its instance, class and human part."""
    classes = np.array([CLASS_INDEX[name] for name in _FACE_CLASSES], np.uint8)
    things = np.array([CLASS_INDEX[thing.name] for thing in scene.things], np.uint8)
    faces = np.arange(_FACES, dtype=np.int16)
    return dict(
        instance=np.concatenate([faces, elements.thing + _FACES]),
        scene_class=np.concatenate([classes, things[elements.thing]]),
        part=np.concatenate([np.zeros(_FACES, np.uint8), elements.part]),
    )


def _albedo(
    scene: Scene, elements: Elements, hit: np.ndarray, points: tuple, normals: tuple,
    instance: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Albedo ``(N, 3)`` and specular strength ``(N,)`` of every pixel."""
    position = np.array([(0, 0, 0)] * _FACES + [t.position for t in scene.things], _F)
    yaw = np.array([0.0] * _FACES + [t.yaw for t in scene.things])
    cos, sin = np.cos(yaw).astype(_F)[instance], np.sin(yaw).astype(_F)[instance]
    x, y, z = (points[k] - position[instance, k] for k in range(3))
    x, y = cos * x + sin * y, cos * y - sin * x
    nx, ny = cos * normals[0] + sin * normals[1], cos * normals[1] - sin * normals[0]
    ax, ay, az = np.abs(nx), np.abs(ny), np.abs(normals[2])
    on_top = (az >= ax) & (az >= ay)
    on_x = ~on_top & (ax >= ay)
    u = np.where(on_x, y, x)
    v = np.where(on_top, y, z)
    materials = list(scene.surfaces) + elements.materials
    distinct = list(dict.fromkeys(materials))
    number = {m: i for i, m in enumerate(distinct)}
    which = np.array([number[m] for m in materials], np.int16)[hit]
    albedo = np.array([m.color for m in distinct], _F)[which]
    for i, where in groups(which):
        if distinct[i].pattern != 'plain' or distinct[i].grain:
            albedo[where] = shade_material(distinct[i], u[where], v[where], scene.noise)
    return albedo, np.array([m.specular for m in distinct], _F)[which]
