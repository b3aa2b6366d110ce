//! Images read at other places: out(x, y) ← in(at(x, y)), between four pixels or from the nearest one.

use super::{CHUNK, Sampled, at_least, at_most, chunks, copy, put, reverse};
use crate::element::Float;
use crate::kernels::vector::registers;
use crate::reserve::resize;
use crate::simd;

/// Columns that a frame adds on the left, and in all: half a pixel less than a place one outside may be rounded to two
/// outside, and interpolation reads one further. Of rows it adds as many above, and one less in all, for each has the next
/// one with it.
const BEFORE: usize = 2;
const MARGIN: usize = 4;
/// Elements of a frame that lie beyond it: whole registers are written at the end of a row.
const SLACK: usize = 32;
/// Chunks whose places are known before their pixels are read.
const AHEAD: usize = 8;

/// Planes with a margin around each, so that a place just outside can be read; every pixel together with the one below,
/// so that four pixels about a place lie side by side.
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
        let plane = Self { data: &[], c, h, w }.plane();
        resize(room, c * plane + SLACK, T::ZERO);
        frame(image, (c, h, w), fill, room);
        Self { data: room, c, h, w }
    }

    /// Elements of a row.
    #[inline(always)]
    fn stride(&self) -> usize {
        2 * (self.w + MARGIN)
    }

    /// Elements of a plane.
    #[inline(always)]
    fn plane(&self) -> usize {
        (self.h + MARGIN - 1) * self.stride()
    }
}

/// Positions to read: the first one, in pixels, the center of pixel 0 being at 0.
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
            let row = f64::from(y as i32);
            let (first_x, first_y) =
                (T::from_f64(Float::mul_add(m[1], row, m[2])), T::from_f64(Float::mul_add(m[4], row, m[5])));
            let (step_x, step_y) = (T::from_f64(m[0]), T::from_f64(m[3]));
            let first = T::from_f64(f64::from(x as i32));
            for k in 0..CHUNK {
                let column = first + T::from_f64(f64::from(k as i32));
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

/// Bounds as numbers: of x, then of y.
#[inline(always)]
fn numbers<T: Sampled>(bounds: Bounds, h: usize, w: usize) -> [T; 4] {
    let Bounds { x, y } = bounds;
    assert!(x.0 >= -1.0 && x.1 <= w as f64 && y.0 >= -1.0 && y.1 <= h as f64 && h.max(w) < 1 << 20);
    [x.0, x.1, y.0, y.1].map(T::from_f64)
}

/// One element, by loads of its own: what gathers the compiler makes of sixteen are slower.
///
/// # Safety
/// `index` is one of `data`.
#[inline(always)]
unsafe fn one<T: Sampled>(data: &[T], index: &u32) -> T {
    // SAFETY: by the caller's promise.
    unsafe {
        let i = std::ptr::from_ref(index).read_volatile() as usize;
        debug_assert!(i < data.len());
        data.as_ptr().add(i).read_volatile()
    }
}

registers! {
    /// The planes of a [`Frame`].
    fn frame<T: Sampled, V>(image: &[T], size: (usize, usize, usize), fill: &[f64], room: &mut [T]) {
        let (c, h, w) = size;
        let (rows, stride) = (h + MARGIN - 1, 2 * (w + MARGIN));
        assert!(image.len() == c * h * w && room.len() == c * rows * stride + SLACK && 2 * V::LANES <= SLACK);
        let mut to = room.as_mut_ptr();
        for (channel, plane) in (0..c).map(|channel| (channel, &image[channel * h * w..])) {
            let fill = T::from_f64(fill[channel % fill.len()]);
            // SAFETY: rows are read up to their ends; what is written beyond the end of a row is the margin between two,
            // or, after all, the slack.
            unsafe {
                let outside = V::splat(fill);
                std::slice::from_raw_parts_mut(to, 2 * BEFORE).fill(fill);
                for y in 0..rows {
                    let inner = to.add(2 * BEFORE);
                    for x in (0..w).step_by(V::LANES) {
                        let there = V::first((w - x).min(V::LANES));
                        let mut pair = [outside; 2];
                        for (below, line) in pair.iter_mut().enumerate() {
                            if (BEFORE..h + BEFORE).contains(&(y + below)) {
                                *line = V::load_part(plane.as_ptr().add((y + below - BEFORE) * w + x), there);
                            }
                        }
                        let (low, high) = pair[0].interleave(pair[1]);
                        low.store(inner.add(2 * x));
                        high.store(inner.add(2 * x + V::LANES));
                    }
                    // The margin right of this row, and the one left of the next.
                    std::slice::from_raw_parts_mut(inner.add(2 * w), 2 * MARGIN).fill(fill);
                    to = to.add(stride);
                }
            }
        }
    }

    /// Read `frame` at `oh` × `ow` places, the value between four pixels:
    ///
    /// ```text
    /// f ← in(i, j) + (x − i)·(in(i + 1, j) − in(i, j)),  i ≤ x ≤ i + 1, j ≤ y ≤ j + 1;  g likewise in row j + 1
    /// out ← f + (y − j)·(g − f)
    /// ```
    pub fn bilinear<T: Sampled, V>(frame: Frame<'_, T>, at: At<'_, T>, bounds: Bounds, oh: usize, ow: usize, out: &mut [T]) {
        let (stride, plane) = (frame.stride() as i32, frame.plane());
        let [x0, x1, y0, y1] = numbers::<T>(bounds, frame.h, frame.w);
        let half = T::from_f64(0.5);
        assert!(frame.data.len() == frame.c * plane + SLACK && out.len() == frame.c * oh * ow);
        // Places first, then pixels: an index that has just been written as a vector is slow to read as a number.
        let (mut xs, mut ys) = ([[T::ZERO; CHUNK]; AHEAD], [[T::ZERO; CHUNK]; AHEAD]);
        let (mut index, mut begins) = ([[0_u32; CHUNK]; AHEAD], [0; AHEAD]);
        let mut next = (0..oh).flat_map(|y| chunks(ow).map(move |x| (y, x)));
        loop {
            let mut count = 0;
            while count < AHEAD && let Some((y, x)) = next.next() {
                let (mut chunk_x, mut chunk_y) = places(at, x, y, ow);
                for k in 0..CHUNK {
                    let (u, v) = (at_most(at_least(chunk_x[k], x0), x1), at_most(at_least(chunk_y[k], y0), y1));
                    let ((i, column), (j, row)) = ((u - half).nearest(), (v - half).nearest());
                    (chunk_x[k], chunk_y[k]) = (u - i, v - j);
                    index[count][k] = ((row + BEFORE as i32) * stride + 2 * (column + BEFORE as i32)) as u32;
                }
                (xs[count], ys[count], begins[count]) = (chunk_x, chunk_y, y * ow + x);
                count += 1;
            }
            if count == 0 {
                break;
            }
            for i in 0..count {
                for channel in 0..frame.c {
                    let begin = channel * oh * ow + begins[i];
                    let mut values = [T::ZERO; CHUNK];
                    for k in (0..CHUNK).step_by(V::LANES) {
                        // SAFETY: −1 ≤ x ≤ w and −1 ≤ y ≤ h by the bounds, asserted above; the integers nearest to half
                        // less lie in −2 … w and −2 … h, and the frame reaches from −2 to w + 1 and h, with h + 1 below.
                        // Registers divide a chunk.
                        unsafe {
                            let data = frame.data.as_ptr().add(channel * plane);
                            let [a, c, b, d] = V::fours(data, index[i].as_ptr().add(k));
                            let (x, y) = (V::load(xs[i].as_ptr().add(k)), V::load(ys[i].as_ptr().add(k)));
                            let (f, g) = (x.mul_add(b.sub(a), a), x.mul_add(d.sub(c), c));
                            y.mul_add(g.sub(f), f).store(values.as_mut_ptr().add(k));
                        }
                    }
                    put(&values, &mut out[begin..begin + ow.min(CHUNK)]);
                }
            }
        }
    }
}

simd! {
    /// Read an image of c planes of h × w at `oh` × `ow` places, the nearest pixel of each, ties going to the even one;
    /// outside is `fill`, one for all planes or one for each.
    pub fn nearest<T: Sampled>(image: &[T], size: (usize, usize, usize), fill: &[f64], at: At<'_, T>, bounds: Bounds, oh: usize, ow: usize, out: &mut [T], room: &mut Vec<T>) {
        let (c, h, w) = size;
        let n = h * w;
        let [x0, x1, y0, y1] = numbers::<T>(bounds, h, w);
        assert!(image.len() == c * n && out.len() == c * oh * ow);
        // Planes with the value outside as one more pixel.
        resize(room, c * (n + 1), T::ZERO);
        for (channel, plane) in room.chunks_exact_mut(n + 1).enumerate() {
            copy(&image[channel * n..(channel + 1) * n], &mut plane[..n]);
            plane[n] = T::from_f64(fill[channel % fill.len()]);
        }
        let (mut index, mut begins) = ([[0_u32; CHUNK]; AHEAD], [0; AHEAD]);
        let mut next = (0..oh).flat_map(|y| chunks(ow).map(move |x| (y, x)));
        loop {
            let mut count = 0;
            while count < AHEAD && let Some((y, x)) = next.next() {
                let (xs, ys) = places(at, x, y, ow);
                for k in 0..CHUNK {
                    let (_, i) = at_most(at_least(xs[k], x0), x1).nearest();
                    let (_, j) = at_most(at_least(ys[k], y0), y1).nearest();
                    let inside = ((i as u32) < w as u32) & ((j as u32) < h as u32);
                    index[count][k] = if inside { (j * w as i32 + i) as u32 } else { n as u32 };
                }
                begins[count] = y * ow + x;
                count += 1;
            }
            if count == 0 {
                break;
            }
            for i in 0..count {
                for channel in 0..c {
                    let data = &room[channel * (n + 1)..(channel + 1) * (n + 1)];
                    let begin = channel * oh * ow + begins[i];
                    let line = &mut out[begin..begin + ow.min(CHUNK)];
                    if let Some(line) = line.first_chunk_mut::<CHUNK>() {
                        for k in 0..CHUNK {
                            // SAFETY: at most n, and a plane has n + 1 elements.
                            line[k] = unsafe { one(data, &index[i][k]) };
                        }
                    } else {
                        for (value, index) in line.iter_mut().zip(&index[i]) {
                            // SAFETY: as above.
                            *value = unsafe { one(data, index) };
                        }
                    }
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
                reverse(row, &mut out[low..high]);
            } else {
                let first = (by.0 + low as i64) as usize;
                copy(&row[first..first + high - low], &mut out[low..high]);
            }
        }
    }

    /// Blur a plane of h × w with a kernel that is symmetric about its middle, along x and then y; what lies outside is
    /// reflected at the middle of the outermost pixels. `room` is as long as [`blur_room`] says.
    pub fn blur<T: Sampled>(plane: &mut [T], size: (usize, usize), kernel: &[T], room: &mut [T]) {
        let ((h, w), radius) = (size, kernel.len() / 2);
        let wide = w.next_multiple_of(CHUNK);
        let (row, rows) = room.split_at_mut(wide + 2 * radius);
        for y in 0..h {
            let line = &mut plane[y * w..(y + 1) * w];
            for (x, row) in row[..w + 2 * radius].iter_mut().enumerate() {
                *row = line[reflected(x as i64 - radius as i64, w)];
            }
            for start in (0..wide).step_by(CHUNK) {
                let mut sum = [T::ZERO; CHUNK];
                for (t, &k) in kernel.iter().enumerate() {
                    let x = &row[start + t..start + t + CHUNK];
                    for (sum, &x) in sum.iter_mut().zip(x) {
                        *sum = x.mul_add(k, *sum);
                    }
                }
                rows[y * wide + start..][..CHUNK].copy_from_slice(&sum);
            }
        }
        for y in 0..h {
            for start in (0..wide).step_by(CHUNK) {
                let mut sum = [T::ZERO; CHUNK];
                for (t, &k) in kernel.iter().enumerate() {
                    let from = reflected((y + t) as i64 - radius as i64, h);
                    for (sum, &x) in sum.iter_mut().zip(&rows[from * wide + start..][..CHUNK]) {
                        *sum = x.mul_add(k, *sum);
                    }
                }
                put(&sum, &mut plane[y * w + start..(y + 1) * w]);
            }
        }
    }
}

/// Elements of scratch that [`blur`] needs for a plane of h × w and such a kernel.
#[must_use]
pub fn blur_room(h: usize, w: usize, kernel: usize) -> usize {
    let wide = w.next_multiple_of(CHUNK);
    wide + kernel + h * wide
}

/// i of … 2 1 0 1 2 … n−2 n−1 n−2 …, for any i.
#[inline]
#[must_use]
pub fn reflected(i: i64, n: usize) -> usize {
    let last = n as i64 - 1;
    // Seldom further than one image away, and then it takes no division.
    let near = if i < 0 { -i } else { i };
    let near = if near > last { 2 * last - near } else { near };
    if near >= 0 {
        return near as usize;
    }
    let period = (2 * last).max(1);
    let i = i.rem_euclid(period);
    (if n == 1 { 0 } else { i.min(period - i) }) as usize
}
