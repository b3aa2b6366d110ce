"""Augmentation once more, image by image in float64, given what was drawn; and the generator, to draw it."""

from __future__ import annotations

import colorsys

import numpy as np

from tests.reference.rbm import LOW, philox

STREAM = 0x40000000


def words(state, number, first, count):
    """Return the words that pixels get from transform ``number``, from block ``first`` on."""
    seed, call = state
    stream, key = STREAM + 2 * number + 1, [seed & LOW, seed >> 32]
    counters = (
        [block & LOW, (block >> 32) ^ stream, call & LOW, call >> 32] for block in range(first, first + -(-count // 4))
    )
    blocks = [philox(counter, key) for counter in counters]
    return np.array(blocks, dtype=np.uint64).reshape(-1)[:count]


def doubles(state, number, first, count):
    """Return as many numbers of [0, 1) of 53 bits; two words make one."""
    w = words(state, number, first // 2, 2 * count)
    return ((w[0::2] | w[1::2] << np.uint64(32)) >> np.uint64(11)).astype(np.float64) / 2.0**53


def normals(state, number, first, count):
    """Return as many standard normal numbers, pairs by Box and Muller."""
    u = doubles(state, number, first, count + count % 2)
    radius = np.sqrt(-2 * np.log(u[0::2] + 0.5 / 2**53))
    angle = 2 * np.pi * u[1::2]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).reshape(-1)[:count]


def per_channel(fill, c):
    return np.broadcast_to(np.asarray(fill, np.float64), c)


def pixel(image, y, x, fill):
    """Return the pixels at integer places, ``fill`` outside: (c, *places)."""
    c, h, w = image.shape
    inside = (y >= 0) & (y < h) & (x >= 0) & (x < w)
    values = image[:, np.clip(y, 0, h - 1), np.clip(x, 0, w - 1)]
    return np.where(inside, values, per_channel(fill, c).reshape(c, *[1] * y.ndim))


def read(image, y, x, interpolation, fill):
    """Return the values at any places, the first pixel's center being 0."""
    if interpolation == "nearest":
        return pixel(image, np.rint(y).astype(int), np.rint(x).astype(int), fill)
    i, j = np.floor(y).astype(int), np.floor(x).astype(int)
    a, b = y - i, x - j
    return (
        (1 - a) * (1 - b) * pixel(image, i, j, fill)
        + (1 - a) * b * pixel(image, i, j + 1, fill)
        + a * (1 - b) * pixel(image, i + 1, j, fill)
        + a * b * pixel(image, i + 1, j + 1, fill)
    )


def matrix(v, shape, center=None, counterclockwise=False):
    """Return where pixels go to, in homogeneous coordinates (x, y, 1)."""
    cx, cy = (shape[2] / 2, shape[1] / 2) if center is None else center

    def moved(x, y):
        return np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])

    a = np.deg2rad(-v["angle"] if counterclockwise else v["angle"])
    s, t = np.tan(np.deg2rad([v["shear_x"], v["shear_y"]]))
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    along_x, along_y = np.array([[1, -s, 0], [0, 1, 0], [0, 0, 1]]), np.array([[1, 0, 0], [-t, 1, 0], [0, 0, 1]])
    grow = np.diag([v["scale"], v["scale"], 1])
    # Centers of pixels lie half a pixel from the corner.
    to_corner = moved(0.5, 0.5)
    middle = moved(cx, cy)
    whole = moved(v["dx"], v["dy"]) @ middle @ turn @ along_y @ along_x @ grow @ np.linalg.inv(middle)
    return np.linalg.inv(to_corner) @ whole @ to_corner


def mapped(image, forward, interpolation, fill, size=None):
    """Return the image whose pixels went where ``forward`` says."""
    h, w = size or image.shape[1:]
    y, x = np.mgrid[:h, :w].astype(np.float64)
    back = np.linalg.inv(forward)
    from_x, from_y, _ = np.tensordot(back, np.stack([x, y, np.ones_like(x)]), 1)
    return read(image, from_y, from_x, interpolation, fill)


def shift(v):
    return np.array([[1, 0, v["dx"]], [0, 1, v["dy"]], [0, 0, 1]])


def flip(shape):
    return np.array([[-1, 0, shape[2] - 1], [0, 1, 0], [0, 0, 1.0]])


def crop(image, v, size, padding, mode, fill):
    """``padding`` is left, top, right, bottom."""
    left, top, right, bottom = padding
    around = ((top, bottom), (left, right))
    if mode == "constant":
        fills = per_channel(fill, len(image))
        planes = [np.pad(p, around, constant_values=f) for p, f in zip(image, fills, strict=True)]
    else:
        planes = [np.pad(p, around, mode=mode) for p in image]
    y, x = int(v["top"]), int(v["left"])
    return np.stack(planes)[:, y : y + size[0], x : x + size[1]]


def resized_crop(image, v, size, interpolation):
    top, left, rows, columns = (int(v[name]) for name in ("top", "left", "height", "width"))
    y = top + np.clip((np.arange(size[0]) + 0.5) * rows / size[0] - 0.5, 0, rows - 1)
    x = left + np.clip((np.arange(size[1]) + 0.5) * columns / size[1] - 0.5, 0, columns - 1)
    return read(image, *np.meshgrid(y, x, indexing="ij"), interpolation, 0)


def gray(image):
    return image[0] if len(image) == 1 else 0.2989 * image[0] + 0.587 * image[1] + 0.114 * image[2]


def color_jitter(image, v, white):
    for step in (int(v[name]) for name in ("first", "second", "third", "fourth")):
        if step == 0:
            image = np.clip(v["brightness"] * image, 0, white)
        elif step == 1:
            f = v["contrast"]
            image = np.clip(f * image + (1 - f) * gray(image).mean(), 0, white)
        elif len(image) == 1:
            continue
        elif step == 2:
            f = v["saturation"]
            image = np.clip(f * image + (1 - f) * gray(image), 0, white)
        else:
            hsv = [colorsys.rgb_to_hsv(*color) for color in (image / white).reshape(3, -1).T]
            turned = [colorsys.hsv_to_rgb((h + v["hue"]) % 1, s, value) for h, s, value in hsv]
            image = np.array(turned).T.reshape(image.shape) * white
    return image


def gaussian_blur(plane, sigma):
    if sigma == 0:
        return plane
    radius = int(8 * sigma + 1) // 2
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    for axis in (0, 1):
        width = [(radius, radius) if a == axis else (0, 0) for a in (0, 1)]
        # A plane of one row has nothing to reflect.
        wide = np.pad(plane, width, mode="edge" if plane.shape[axis] == 1 else "reflect")
        plane = np.apply_along_axis(np.convolve, axis, wide, kernel, "valid")
    return plane


def elastic(image, state, number, i, alpha, sigma, interpolation, fill):
    _, h, w = image.shape
    count = 2 * h * w
    u = 2 * doubles(state, number, i * (count + -count % 4), count).reshape(2, h, w) - 1
    dx, dy = (a * gaussian_blur(plane, s) for a, s, plane in zip(alpha, sigma, u, strict=True))
    y, x = np.mgrid[:h, :w]
    return read(image, y + dy, x + dx, interpolation, fill)


def erase(image, top, left, rows, columns, value):
    image = image.copy()
    y, x = max(top, 0), max(left, 0)
    part = image[:, y : max(top + rows, 0), x : max(left + columns, 0)]
    part[...] = (
        per_channel(value, len(image))[:, None, None]
        if np.ndim(value) < 3
        else value[:, y : top + rows, x : left + columns]
    )
    return image


def mixed_targets(classes, y, lam, partner, weight=None):
    """Return probabilities, and what each row counts for."""
    w = np.ones(len(y)) if weight is None else weight
    e = np.eye(classes)[y] * w[:, None]
    total = lam * w + (1 - lam) * w[partner]
    return (lam * e + (1 - lam) * e[partner]) / total[:, None], total
