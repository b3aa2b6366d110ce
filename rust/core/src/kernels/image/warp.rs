//! Images read at other places: out(x, y) ← in(at(x, y)), between four pixels or from the nearest one.

use super::Sampled;
use crate::simd;

/// Pixels that are handled at once.
const CHUNK: usize = 16;
/// What a frame adds on the left and above, and in all: bilinear interpolation at the last place reads one further.
const BEFORE: usize = 1;
const MARGIN: usize = 3;

/// Planes with a margin around each, so that a place just outside can be read.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a, T> {
    data: &'a [T],
    c: usize,
    h: usize,
    w: usize,
}

impl<'a, T: Sampled> Frame<'a, T> {
    /// Frame the c planes of `image`, in `room`; the margin of a plane has its value of `fill`, which may be one for all.
    pub fn new(image: &[T], (c, h, w): (usize, usize, usize), fill: &[f64], room: &'a mut Vec<T>) -> Self {
        let (rows, stride) = (h + MARGIN, w + MARGIN);
        room.resize(c * rows * stride, T::ZERO);
        for (channel, plane) in room.chunks_exact_mut(rows * stride).enumerate() {
            let fill = T::from_f64(fill[channel % fill.len()]);
            plane[..stride].fill(fill);
            for (y, row) in plane[stride..].chunks_exact_mut(stride).enumerate() {
                if y >= h {
                    row.fill(fill);
                    continue;
                }
                row[0] = fill;
                row[BEFORE..BEFORE + w].copy_from_slice(&image[(channel * h + y) * w..][..w]);
                row[BEFORE + w..].fill(fill);
            }
        }
        Self { data: room, c, h, w }
    }
}

/// Where to read: from which place, in pixels, the first one having its centre at 0.
#[derive(Clone, Copy, Debug)]
pub enum At<'a, T> {
    /// x' ← m₀x + m₁y + m₂, y' ← m₃x + m₄y + m₅
    Affine([f64; 6]),
    /// x' ← x + dx(x, y), y' ← y + dy(x, y)
    Moved(&'a [T], &'a [T]),
}

/// The places that are read: x and y from first to last; others are moved to the nearest of these.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Of x.
    pub x: (f64, f64),
    /// Of y.
    pub y: (f64, f64),
}

impl Bounds {
    /// A pixel beyond the image, in every direction: what lies there is the margin.
    #[must_use]
    pub fn outside(h: usize, w: usize) -> Self {
        Self { x: (-1.0, w as f64), y: (-1.0, h as f64) }
    }
}

/// The places of a chunk of row y from x on.
#[inline(always)]
fn places<T: Sampled>(at: At<'_, T>, x: usize, y: usize, ow: usize) -> ([T; CHUNK], [T; CHUNK]) {
    let (mut xs, mut ys) = ([T::ZERO; CHUNK], [T::ZERO; CHUNK]);
    match at {
        At::Affine(m) => {
            let row = y as f64;
            let (first_x, first_y) = (T::from_f64(m[1].mul_add(row, m[2])), T::from_f64(m[4].mul_add(row, m[5])));
            let (step_x, step_y) = (T::from_f64(m[0]), T::from_f64(m[3]));
            for k in 0..CHUNK {
                let column = T::from_f64(f64::from((x + k) as i32));
                xs[k] = column.mul_add(step_x, first_x);
                ys[k] = column.mul_add(step_y, first_y);
            }
        }
        At::Moved(dx, dy) => {
            let from = y * ow + x;
            for k in 0..CHUNK.min(ow - x) {
                xs[k] = T::from_f64((x + k) as f64) + dx[from + k];
                ys[k] = T::from_f64(y as f64) + dy[from + k];
            }
        }
    }
    (xs, ys)
}

#[inline(always)]
fn within<T: Sampled>(x: T, low: T, high: T) -> T {
    super::at_most(super::at_least(x, low), high)
}

simd! {
    /// Read `frame` at `oh` × `ow` places, the value between four pixels:
    ///
    /// ```text
    /// f ← in(i, j) + (x − i)·(in(i + 1, j) − in(i, j)),  i = ⌊x⌋, j = ⌊y⌋;  g likewise in row j + 1
    /// out ← f + (y − j)·(g − f)
    /// ```
    pub fn bilinear<T: Sampled>(frame: Frame<'_, T>, at: At<'_, T>, bounds: Bounds, oh: usize, ow: usize, out: &mut [T]) {
        let (stride, plane) = (frame.w + MARGIN, (frame.h + MARGIN) * (frame.w + MARGIN));
        let place = |v: f64| T::from_f64(v);
        let (x0, x1, y0, y1) = (place(bounds.x.0), place(bounds.x.1), place(bounds.y.0), place(bounds.y.1));
        assert!(bounds.x.0 >= -1.0 && bounds.x.1 <= frame.w as f64 && bounds.y.0 >= -1.0 && bounds.y.1 <= frame.h as f64);
        assert!(frame.data.len() == frame.c * plane && out.len() == frame.c * oh * ow);
        for y in 0..oh {
            for x in (0..ow).step_by(CHUNK) {
                let (xs, ys) = places(at, x, y, ow);
                let (mut index, mut fx, mut fy) = ([0_i32; CHUNK], [T::ZERO; CHUNK], [T::ZERO; CHUNK]);
                for k in 0..CHUNK {
                    // Above 0, so that to leave out the fraction is to round down.
                    let (u, v) = (within(xs[k], x0, x1) + T::ONE, within(ys[k], y0, y1) + T::ONE);
                    let (i, j) = (u.index(), v.index());
                    fx[k] = u - T::from_f64(f64::from(i));
                    fy[k] = v - T::from_f64(f64::from(j));
                    index[k] = j * stride as i32 + i;
                }
                for channel in 0..frame.c {
                    let data = &frame.data[channel * plane..(channel + 1) * plane];
                    let (mut a, mut b, mut c, mut d) = ([T::ZERO; CHUNK], [T::ZERO; CHUNK], [T::ZERO; CHUNK], [T::ZERO; CHUNK]);
                    for k in 0..CHUNK {
                        let first = index[k] as usize;
                        // SAFETY: 0 ≤ i ≤ w + 1 and 0 ≤ j ≤ h + 1 by the bounds, asserted above; rows have w + 3, planes h + 3.
                        unsafe {
                            a[k] = *data.get_unchecked(first);
                            b[k] = *data.get_unchecked(first + 1);
                            c[k] = *data.get_unchecked(first + stride);
                            d[k] = *data.get_unchecked(first + stride + 1);
                        }
                    }
                    for k in 0..CHUNK {
                        let (f, g) = (fx[k].mul_add(b[k] - a[k], a[k]), fx[k].mul_add(d[k] - c[k], c[k]));
                        a[k] = fy[k].mul_add(g - f, f);
                    }
                    let count = CHUNK.min(ow - x);
                    out[(channel * oh + y) * ow + x..][..count].copy_from_slice(&a[..count]);
                }
            }
        }
    }

    /// Read `frame` at `oh` × `ow` places, the nearest pixel of each: out ← in(⌊x + ½⌋, ⌊y + ½⌋).
    pub fn nearest<T: Sampled>(frame: Frame<'_, T>, at: At<'_, T>, bounds: Bounds, oh: usize, ow: usize, out: &mut [T]) {
        let (stride, plane) = (frame.w + MARGIN, (frame.h + MARGIN) * (frame.w + MARGIN));
        let place = |v: f64| T::from_f64(v);
        let (x0, x1, y0, y1) = (place(bounds.x.0), place(bounds.x.1), place(bounds.y.0), place(bounds.y.1));
        let rounding = T::from_f64(1.5);
        assert!(bounds.x.0 >= -1.0 && bounds.x.1 <= frame.w as f64 && bounds.y.0 >= -1.0 && bounds.y.1 <= frame.h as f64);
        assert!(frame.data.len() == frame.c * plane && out.len() == frame.c * oh * ow);
        for y in 0..oh {
            for x in (0..ow).step_by(CHUNK) {
                let (xs, ys) = places(at, x, y, ow);
                let mut index = [0_i32; CHUNK];
                for k in 0..CHUNK {
                    let (u, v) = (within(xs[k], x0, x1) + rounding, within(ys[k], y0, y1) + rounding);
                    index[k] = v.index() * stride as i32 + u.index();
                }
                for channel in 0..frame.c {
                    let data = &frame.data[channel * plane..(channel + 1) * plane];
                    let mut a = [T::ZERO; CHUNK];
                    for k in 0..CHUNK {
                        // SAFETY: as in `bilinear`.
                        a[k] = unsafe { *data.get_unchecked(index[k] as usize) };
                    }
                    let count = CHUNK.min(ow - x);
                    out[(channel * oh + y) * ow + x..][..count].copy_from_slice(&a[..count]);
                }
            }
        }
    }

    /// out(x, y) ← in(±x + dx, ±y + dy) for one plane, and `fill` outside; `flip` says which of x and y are reversed.
    pub fn moved<T: Sampled>(image: &[T], size: (usize, usize), flip: (bool, bool), by: (i64, i64), fill: T, ow: usize, out: &mut [T]) {
        let (h, w) = size;
        // The x whose place lies inside: 0 ≤ ±x + dx < w.
        let (low, high) = if flip.0 { (by.0 - w as i64 + 1, by.0 + 1) } else { (-by.0, w as i64 - by.0) };
        let low = low.clamp(0, ow as i64) as usize;
        let high = (high.clamp(0, ow as i64) as usize).max(low);
        for (y, out) in out.chunks_exact_mut(ow).enumerate() {
            let from = if flip.1 { by.1 - y as i64 } else { by.1 + y as i64 };
            if from < 0 || from >= h as i64 || low == high {
                out.fill(fill);
                continue;
            }
            let row = &image[from as usize * w..][..w];
            out[..low].fill(fill);
            out[high..].fill(fill);
            if flip.0 {
                let first = (by.0 - high as i64 + 1) as usize;
                let row = &row[first..first + high - low];
                for (out, &x) in out[low..high].iter_mut().zip(row.iter().rev()) {
                    *out = x;
                }
            } else {
                let first = (by.0 + low as i64) as usize;
                out[low..high].copy_from_slice(&row[first..first + high - low]);
            }
        }
    }

    /// Blur a plane of h × w with a kernel that is symmetric about its middle, along x and then y; what lies outside is
    /// reflected at the middle of the outermost pixels. `room` takes any length.
    pub fn blur<T: Sampled>(plane: &mut [T], size: (usize, usize), kernel: &[T], room: &mut [T]) {
        let ((h, w), radius) = (size, kernel.len() / 2);
        let (row, rows) = room.split_at_mut(w + 2 * radius);
        for y in 0..h {
            let line = &mut plane[y * w..(y + 1) * w];
            for (x, row) in row.iter_mut().enumerate() {
                *row = line[reflected(x as i64 - radius as i64, w)];
            }
            line.fill(T::ZERO);
            for (t, &k) in kernel.iter().enumerate() {
                for (out, &x) in line.iter_mut().zip(&row[t..t + w]) {
                    *out = x.mul_add(k, *out);
                }
            }
        }
        let rows = &mut rows[..h * w];
        rows.copy_from_slice(plane);
        for y in 0..h {
            let line = &mut plane[y * w..(y + 1) * w];
            line.fill(T::ZERO);
            for (t, &k) in kernel.iter().enumerate() {
                let from = reflected((y + t) as i64 - radius as i64, h);
                for (out, &x) in line.iter_mut().zip(&rows[from * w..(from + 1) * w]) {
                    *out = x.mul_add(k, *out);
                }
            }
        }
    }
}

/// i of … 2 1 0 1 2 … n−2 n−1 n−2 …, for any i.
#[inline]
#[must_use]
pub fn reflected(i: i64, n: usize) -> usize {
    let period = (2 * (n as i64 - 1)).max(1);
    let i = i.rem_euclid(period);
    (if n == 1 { 0 } else { i.min(period - i) }) as usize
}
