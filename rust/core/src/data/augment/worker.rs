//! One image after another, with room to work in.

use super::action::{Action, Warp};
use super::kind::{Interpolation, Kind, Value, Values};
use super::words::threshold;
use super::{Pipeline, Shape};
use crate::element::Float;
use crate::kernels::image::warp::{At, Bounds, Frame, bilinear, blur, blur_room, moved, nearest};
use crate::kernels::image::{Pixel, Sampled, colour, load, noise, store};
use crate::rng::{self, Draw};

/// Room for one image in its states; one for each thread.
#[derive(Debug, Default)]
pub struct Worker<T> {
    image: Vec<T>,
    other: Vec<T>,
    frame: Vec<T>,
    field: Vec<T>,
    room: Vec<T>,
}

/// The image's place in the batch, and what white is.
struct Around {
    i: usize,
    white: f64,
}

impl<T: Sampled> Worker<T> {
    /// Image `i` of a batch, of shape `from`, goes through the pipeline.
    pub fn run<S: Pixel<Compute = T>>(
        &mut self,
        pipeline: &Pipeline,
        draw: Draw,
        i: usize,
        from: Shape,
        x: &[S],
        out: &mut [S],
    ) {
        let actions = pipeline.actions(draw, i, from);
        if actions.is_empty() {
            out.copy_from_slice(x);
            return;
        }
        self.image.resize(x.len(), T::ZERO);
        load(x, &mut self.image);
        let mut shape = from;
        let around = Around { i, white: pipeline.white.unwrap_or(S::WHITE) };
        for action in &actions {
            match action {
                Action::Warp(warp) => {
                    self.warp(warp, shape);
                    shape = warp.to;
                }
                Action::Pick { rows, columns } => {
                    self.other.clear();
                    for plane in self.image.chunks_exact(shape.h * shape.w) {
                        for &row in rows {
                            let row = &plane[row as usize * shape.w..][..shape.w];
                            self.other.extend(columns.iter().map(|&x| row[x as usize]));
                        }
                    }
                    std::mem::swap(&mut self.image, &mut self.other);
                    shape = Shape { h: rows.len(), w: columns.len(), ..shape };
                }
                Action::Other { kind, values, noise } => self.change(kind, values, *noise, shape, &around),
            }
        }
        store(&self.image, out);
    }

    fn warp(&mut self, warp: &Warp<'_>, from: Shape) {
        let Self { image, other, frame, .. } = self;
        let to = warp.to;
        other.resize(to.numel(), T::ZERO);
        let fill = warp.fill.unwrap_or(&[0.0]);
        if to.numel() == 0 {
        } else if let Some((flip, by)) = warp.whole() {
            for (channel, out) in other.chunks_exact_mut(to.h * to.w).enumerate() {
                let plane = &image[channel * from.h * from.w..][..from.h * from.w];
                let fill = T::from_f64(fill[channel % fill.len()]);
                moved(plane, (from.h, from.w), flip, by, fill, to.w, out);
            }
        } else {
            let bounds = warp.bounds.unwrap_or(Bounds::outside(from.h, from.w));
            read(warp.interpolation, image, from, fill, At::Affine(warp.map), bounds, to, other, frame);
        }
        std::mem::swap(image, other);
    }

    fn change(&mut self, kind: &Kind, values: &Values, draw: Draw, shape: Shape, around: &Around) {
        let Shape { c, h, w } = shape;
        let n = h * w;
        let white = T::from_f64(around.white);
        let of = T::from_f64;
        if shape.numel() == 0 {
            return;
        }
        match kind {
            Kind::ColorJitter { brightness, contrast, saturation, hue } => {
                for &turn in &values[..4] {
                    match turn as usize {
                        0 if brightness.is_some() => colour::brightness(&mut self.image, of(values[4]), white),
                        1 if contrast.is_some() => colour::contrast(&mut self.image, c, of(values[5]), white),
                        2 if saturation.is_some() && c == 3 => {
                            colour::saturation(&mut self.image, of(values[6]), white);
                        }
                        3 if hue.is_some() && c == 3 => colour::hue(&mut self.image, of(values[7])),
                        _ => {}
                    }
                }
            }
            Kind::PcaNoise { components, .. } => {
                for (channel, plane) in self.image.chunks_exact_mut(n).enumerate() {
                    let sum: f64 =
                        components.iter().zip(values).map(|(component, alpha)| component[channel] * alpha).sum();
                    colour::scale(plane, T::ONE, of(sum * around.white));
                }
            }
            Kind::GaussianNoise { mean, sigma, clip } => {
                self.draw_normals(draw, shape, around);
                let (mean, sigma) = (of(mean * around.white), of(sigma * around.white));
                noise::add(&mut self.image, &self.room, mean, sigma, *clip, white);
            }
            Kind::BinomialNoise { rate } => {
                let first = (around.i * shape.numel().div_ceil(4)) as u64;
                noise::mask(&mut self.image, draw, first, threshold(*rate));
            }
            Kind::SaltAndPepper { rate, salt } => {
                let first = (around.i * n.div_ceil(4)) as u64;
                let (salt, all) = (threshold(rate * salt), threshold(*rate));
                noise::salt_and_pepper(&mut self.image, n, draw, first, salt, all, white);
            }
            Kind::Elastic { alpha, sigma, interpolation, fill } => {
                self.draw_field(draw, shape, around, *alpha, *sigma);
                let Self { image, other, frame, field, .. } = self;
                other.resize(shape.numel(), T::ZERO);
                let at = At::Moved(&field[..n], &field[n..]);
                read(*interpolation, image, shape, fill, at, Bounds::outside(h, w), shape, other, frame);
                std::mem::swap(image, other);
            }
            Kind::Erasing { value, .. } => {
                let [top, left, rows, columns] = values[..] else { return };
                let (top, left) = (top as usize, left as usize);
                self.erase((top, top + rows as usize), (left, left + columns as usize), value, draw, shape, around);
            }
            Kind::CutOut { size, value } => {
                // From size / 2 before the centre on, as much of it as lies in the image.
                let side = |centre: f64, size: usize, n: usize| {
                    let first = centre as i64 - (size / 2) as i64;
                    (first.max(0) as usize, (first + size as i64).clamp(0, n as i64) as usize)
                };
                self.erase(side(values[0], size.0, h), side(values[1], size.1, w), value, draw, shape, around);
            }
            Kind::Normalize { mean, std } => {
                for (channel, plane) in self.image.chunks_exact_mut(n).enumerate() {
                    let (mean, std) = (mean[channel % mean.len()], std[channel % std.len()]);
                    colour::scale(plane, of(1.0 / std), of(-mean / std));
                }
            }
            _ => {}
        }
    }

    /// A standard normal number for every one of the image.
    fn draw_normals(&mut self, draw: Draw, shape: Shape, around: &Around) {
        self.room.resize(shape.numel(), T::ZERO);
        rng::normal(draw, around.i * shape.numel().next_multiple_of(4), &mut self.room);
    }

    fn erase(
        &mut self,
        (top, bottom): (usize, usize),
        (left, right): (usize, usize),
        value: &Value,
        draw: Draw,
        shape: Shape,
        around: &Around,
    ) {
        if top >= bottom || left >= right {
            return;
        }
        if *value == Value::Random {
            self.draw_normals(draw, shape, around);
        }
        for channel in 0..shape.c {
            for row in channel * shape.h + top..channel * shape.h + bottom {
                let place = row * shape.w + left..row * shape.w + right;
                match value {
                    Value::Random => self.image[place.clone()].copy_from_slice(&self.room[place]),
                    Value::Fill(fill) => self.image[place].fill(T::from_f64(fill[channel % fill.len()])),
                }
            }
        }
    }

    /// How far every place is moved, along x and then along y: even numbers of [−1, 1), blurred, times alpha.
    fn draw_field(&mut self, draw: Draw, shape: Shape, around: &Around, alpha: (f64, f64), sigma: (f64, f64)) {
        let (h, w) = (shape.h, shape.w);
        let n = h * w;
        self.field.resize(2 * n, T::ZERO);
        rng::uniform(draw, around.i * (2 * n).next_multiple_of(4), &mut self.field);
        for (plane, (alpha, sigma)) in self.field.chunks_exact_mut(n).zip([(alpha.0, sigma.0), (alpha.1, sigma.1)]) {
            colour::scale(plane, T::from_f64(2.0 * alpha), T::from_f64(-alpha));
            if sigma > 0.0 {
                let kernel = gaussian(sigma);
                self.room.resize(blur_room(h, w, kernel.len()), T::ZERO);
                blur(plane, (h, w), &kernel, &mut self.room);
            }
        }
    }
}

/// exp(−i² / 2σ²) for |i| ≤ 4σ, in all 1.
fn gaussian<T: Float>(sigma: f64) -> Vec<T> {
    let radius = (8.0 * sigma + 1.0) as i64 / 2;
    let weight = |i: i64| Float::exp(-0.5 * (i as f64 / sigma) * (i as f64 / sigma));
    let all: f64 = (-radius..=radius).map(weight).sum();
    (-radius..=radius).map(|i| T::from_f64(weight(i) / all)).collect()
}

#[allow(clippy::too_many_arguments)]
fn read<T: Sampled>(
    interpolation: Interpolation,
    image: &[T],
    from: Shape,
    fill: &[f64],
    at: At<'_, T>,
    bounds: Bounds,
    to: Shape,
    out: &mut [T],
    room: &mut Vec<T>,
) {
    let size = (from.c, from.h, from.w);
    match interpolation {
        Interpolation::Nearest => nearest(image, size, fill, at, bounds, to.h, to.w, out),
        Interpolation::Bilinear => bilinear(Frame::new(image, size, fill, room), at, bounds, to.h, to.w, out),
    }
}
