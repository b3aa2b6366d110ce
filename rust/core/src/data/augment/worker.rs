//! One image after another, with room to work in.

use super::action::{Action, Warp};
use super::kind::{Interpolation, Kind, Value};
use super::words::threshold;
use super::{Pipeline, Shape};
use crate::element::Float;
use crate::kernels::image::warp::{At, Bounds, Frame, bilinear, blur, blur_room, moved, nearest};
use crate::kernels::image::{Pixel, Sampled, color, load, noise, store};
use crate::reserve::resize;
use crate::rng::{self, Draw};

/// Room for one image in its states; one for each thread.
#[derive(Debug, Default)]
pub struct Worker<T> {
    image: Vec<T>,
    other: Vec<T>,
    frame: Vec<T>,
    field: Vec<T>,
    room: Vec<T>,
    loaded: Vec<T>,
    changed: Vec<T>,
}

/// The image's place in the batch, and what white is.
struct Around {
    i: usize,
    white: f64,
}

/// Place of an image between two actions: its source, a buffer in between, or its destination.
#[derive(PartialEq)]
enum Place {
    Given,
    Between,
    Out,
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
        let around = Around { i, white: pipeline.white.unwrap_or(S::WHITE) };
        if let (Some(x), Some(out)) = (S::values(x), S::values_mut(out)) {
            self.act(&actions, from, x, out, &around);
            return;
        }
        let (mut values, mut changed) = (std::mem::take(&mut self.loaded), std::mem::take(&mut self.changed));
        resize(&mut values, x.len(), T::ZERO);
        resize(&mut changed, out.len(), T::ZERO);
        load(x, &mut values);
        self.act(&actions, from, &values, &mut changed, &around);
        store(&changed, out);
        (self.loaded, self.changed) = (values, changed);
    }

    /// Do all of it to x. What moves pixels reads them in one place and writes them to another, the last of its kind
    /// into `out`; the rest happens where they are.
    fn act(&mut self, actions: &[Action<'_>], from: Shape, x: &[T], out: &mut [T], around: &Around) {
        let (mut image, mut other) = (std::mem::take(&mut self.image), std::mem::take(&mut self.other));
        let mut moves = actions.iter().filter(|action| action.moves()).count();
        let (mut place, mut shape) = (Place::Given, from);
        for action in actions {
            if action.moves() {
                let to = action.shape(shape);
                moves -= 1;
                resize(&mut other, if moves == 0 { 0 } else { to.numel() }, T::ZERO);
                let source = if place == Place::Given { x } else { &image };
                self.move_pixels(action, source, shape, if moves == 0 { out } else { &mut other }, around);
                std::mem::swap(&mut image, &mut other);
                (place, shape) = (if moves == 0 { Place::Out } else { Place::Between }, to);
                continue;
            }
            if place == Place::Given && moves == 0 {
                out.copy_from_slice(x);
                place = Place::Out;
            } else if place == Place::Given {
                image.clear();
                image.extend_from_slice(x);
                place = Place::Between;
            }
            self.change(action, if place == Place::Out { out } else { &mut image }, shape, around);
        }
        (self.image, self.other) = (image, other);
    }

    fn move_pixels(&mut self, action: &Action<'_>, x: &[T], from: Shape, out: &mut [T], around: &Around) {
        if out.is_empty() {
            return;
        }
        match action {
            Action::Warp(warp) => self.warp(warp, x, from, out),
            Action::Pick { rows, columns } => {
                let mut lines = out.chunks_exact_mut(columns.len());
                for plane in x.chunks_exact(from.h * from.w) {
                    for (&row, line) in rows.iter().zip(&mut lines) {
                        let row = &plane[row as usize * from.w..][..from.w];
                        for (value, &x) in line.iter_mut().zip(columns) {
                            *value = row[x as usize];
                        }
                    }
                }
            }
            Action::Other { kind, noise, .. } => {
                let Kind::Elastic { alpha, sigma, interpolation, fill } = kind else {
                    unreachable!("nothing else moves pixels")
                };
                let Shape { h, w, .. } = from;
                self.draw_field(*noise, from, around, *alpha, *sigma);
                let at = At::Moved(&self.field[..h * w], &self.field[h * w..]);
                read(*interpolation, x, from, fill, at, Bounds::outside(h, w), from, out, &mut self.frame);
            }
        }
    }

    fn warp(&mut self, warp: &Warp<'_>, x: &[T], from: Shape, out: &mut [T]) {
        let to = warp.to;
        let fill = warp.fill.unwrap_or(&[0.0]);
        if let Some((flip, by)) = warp.whole() {
            for (channel, out) in out.chunks_exact_mut(to.h * to.w).enumerate() {
                let plane = &x[channel * from.h * from.w..][..from.h * from.w];
                let fill = T::from_f64(fill[channel % fill.len()]);
                moved(plane, (from.h, from.w), flip, by, fill, to.w, out);
            }
        } else {
            let bounds = warp.bounds.unwrap_or(Bounds::outside(from.h, from.w));
            read(warp.interpolation, x, from, fill, At::Affine(warp.map), bounds, to, out, &mut self.frame);
        }
    }

    /// Change an image where it is.
    fn change(&mut self, action: &Action<'_>, image: &mut [T], shape: Shape, around: &Around) {
        let Action::Other { kind, values, noise: draw } = action else { unreachable!("warps move pixels") };
        let (Shape { c, h, w }, draw) = (shape, *draw);
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
                        0 if brightness.is_some() => color::brightness(image, of(values[4]), white),
                        1 if contrast.is_some() => color::contrast(image, c, of(values[5]), white),
                        2 if saturation.is_some() && c == 3 => {
                            color::saturation(image, of(values[6]), white);
                        }
                        3 if hue.is_some() && c == 3 => color::hue(image, of(values[7])),
                        _ => {}
                    }
                }
            }
            Kind::PcaNoise { components, .. } => {
                for (channel, plane) in image.chunks_exact_mut(n).enumerate() {
                    let sum: f64 =
                        components.iter().zip(values).map(|(component, alpha)| component[channel] * alpha).sum();
                    color::scale(plane, T::ONE, of(sum * around.white));
                }
            }
            Kind::GaussianNoise { mean, sigma, clip } => {
                self.draw_normals(draw, shape, around);
                let (mean, sigma) = (of(mean * around.white), of(sigma * around.white));
                noise::add(image, &self.room, mean, sigma, *clip, white);
            }
            Kind::BinomialNoise { rate } => {
                let first = (around.i * shape.numel().div_ceil(4)) as u64;
                noise::mask(image, draw, first, threshold(*rate));
            }
            Kind::SaltAndPepper { rate, salt } => {
                let first = (around.i * n.div_ceil(4)) as u64;
                let (salt, all) = (threshold(rate * salt), threshold(*rate));
                noise::salt_and_pepper(image, n, draw, first, salt, all, white);
            }
            Kind::Erasing { value, .. } => {
                let [top, left, rows, columns] = values[..] else { return };
                let (top, left) = (top as usize, left as usize);
                let area = ((top, top + rows as usize), (left, left + columns as usize));
                self.erase(image, area, value, draw, shape, around);
            }
            Kind::CutOut { size, value } => {
                // From size / 2 before the center on, as much of it as lies in the image.
                let side = |center: f64, size: usize, n: usize| {
                    let first = center as i64 - (size / 2) as i64;
                    (first.max(0) as usize, (first + size as i64).clamp(0, n as i64) as usize)
                };
                let area = (side(values[0], size.0, h), side(values[1], size.1, w));
                self.erase(image, area, value, draw, shape, around);
            }
            Kind::Normalize { mean, std } => {
                for (channel, plane) in image.chunks_exact_mut(n).enumerate() {
                    let (mean, std) = (mean[channel % mean.len()], std[channel % std.len()]);
                    color::scale(plane, of(1.0 / std), of(-mean / std));
                }
            }
            _ => {}
        }
    }

    /// A standard normal number for every one of the image.
    fn draw_normals(&mut self, draw: Draw, shape: Shape, around: &Around) {
        resize(&mut self.room, shape.numel(), T::ZERO);
        rng::normal(draw, around.i * shape.numel().next_multiple_of(4), &mut self.room);
    }

    fn erase(
        &mut self,
        image: &mut [T],
        ((top, bottom), (left, right)): ((usize, usize), (usize, usize)),
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
                    Value::Random => image[place.clone()].copy_from_slice(&self.room[place]),
                    Value::Fill(fill) => image[place].fill(T::from_f64(fill[channel % fill.len()])),
                }
            }
        }
    }

    /// Displacements of every position, along x and then along y: even numbers of [−1, 1), blurred, times alpha.
    fn draw_field(&mut self, draw: Draw, shape: Shape, around: &Around, alpha: (f64, f64), sigma: (f64, f64)) {
        let (h, w) = (shape.h, shape.w);
        let n = h * w;
        resize(&mut self.field, 2 * n, T::ZERO);
        rng::uniform(draw, around.i * (2 * n).next_multiple_of(4), &mut self.field);
        for (plane, (alpha, sigma)) in self.field.chunks_exact_mut(n).zip([(alpha.0, sigma.0), (alpha.1, sigma.1)]) {
            color::scale(plane, T::from_f64(2.0 * alpha), T::from_f64(-alpha));
            if sigma > 0.0 {
                let kernel = gaussian(sigma);
                resize(&mut self.room, blur_room(h, w, kernel.len()), T::ZERO);
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
        Interpolation::Nearest => nearest(image, size, fill, at, bounds, to.h, to.w, out, room),
        Interpolation::Bilinear => bilinear(Frame::new(image, size, fill, room), at, bounds, to.h, to.w, out),
    }
}
