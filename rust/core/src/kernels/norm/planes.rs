//! The channels of images `(n, c, h, w)`: planes of `l = h · w` neighbors, one a sample.
//!
//! A channel is cut into units, by its shape alone: several planes where they are small, pieces of one where it is large. Every
//! unit is summed over 32 virtual lanes (element i of a plane or piece in lane i mod 32) and a fixed tree, and units are
//! joined in their order, in double precision. So members may share units as they like. Lanes that have taken about 32 elements go on
//! in double precision, too.
//!
//! ```text
//! unit:     μ_u = Σ x / k_u,   s_u = Σ (x − μ_u)²
//! channel:  μ ← μ + δ · k_u / k,   s ← s + s_u + δ² · k_u · (k − k_u) / k,   δ = μ_u − μ,   k ← k + k_u
//! ```
//!
//! A unit's sums are taken while it is in the first cache, so that a channel is read from memory once for its moments.
//!
//! Source: Chan, Golub & `LeVeque` 1983, "Algorithms for computing the sample variance", equation 2.1.

use super::feature::{Line, Samples, Slope};
use super::unit::{fetch_next, sum_unit};
use super::{Affine, Moments, Scaling, at};
use crate::element::{Float, LANES};
use crate::simd;

/// Elements that small planes are gathered to.
const GATHERED: usize = 1024;
/// Elements of a piece of a large plane.
const PIECE: usize = 4096;

/// Division of the channels of a packed array of `(n, c, l)` into units. None is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planes {
    /// Samples.
    pub n: usize,
    /// Channels.
    pub c: usize,
    /// Elements of a plane.
    pub l: usize,
}

impl Planes {
    /// Planes of a unit, if a plane is one piece.
    const fn gathered(self) -> usize {
        if self.l >= GATHERED { 1 } else { GATHERED / self.l }
    }

    const fn pieces(self) -> usize {
        self.l.div_ceil(PIECE)
    }

    /// Elements of a channel.
    #[must_use]
    pub const fn samples(self) -> usize {
        self.n * self.l
    }

    /// Units of a channel.
    #[must_use]
    pub const fn units(self) -> usize {
        self.n.div_ceil(self.gathered()) * self.pieces()
    }

    /// Start of unit `u` of channel `j`, and its samples.
    const fn unit(self, j: usize, u: usize) -> (usize, Samples) {
        let (pieces, stride) = (self.pieces(), self.c * self.l);
        let (first, piece) = (u / pieces * self.gathered(), u % pieces * PIECE);
        let (planes, left) = (self.gathered(), self.l - piece);
        let count = if self.n - first < planes { self.n - first } else { planes };
        let len = if left < PIECE { left } else { PIECE };
        ((first * self.c + j) * self.l + piece, Samples { count, len, stride })
    }
}

/// Operation on a normalized value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Nothing.
    Nothing,
    /// max(y, 0). NaN stays.
    Relu,
}

/// The gradients that pass through to normalized values.
#[derive(Clone, Copy, Debug)]
pub enum Gate<'a, T> {
    /// All of them.
    Open,
    /// Those where the output, which this is, is not 0: what [`Then::Relu`] did.
    Output(&'a [T]),
    /// Likewise, where nothing was added before that: the output is made again from the input, which is read anyway, with these
    /// biases.
    Bias(&'a [T]),
}

/// The gate of a unit.
#[derive(Clone, Copy)]
enum UnitGate<T> {
    Open,
    Output,
    Line(Line<T>),
}

#[inline(always)]
fn rectified<T: Float>(x: T, then: Then) -> T {
    if then == Then::Relu && x <= T::ZERO { T::ZERO } else { x }
}

/// The gradient that gets through to where `y` was made.
#[inline(always)]
fn masked<T: Float>(dy: T, y: T) -> T {
    if y <= T::ZERO { T::ZERO } else { dy }
}

#[inline(always)]
fn line_run<T: Float>(line: Line<T>, x: &[T], added: Option<&[T]>, then: Then, y: &mut [T]) {
    let more = added.map(<[T]>::as_chunks::<LANES>);
    let ((ys, y_rest), (xs, x_rest)) = (y.as_chunks_mut::<LANES>(), x.as_chunks::<LANES>());
    for (k, (y, x_block)) in ys.iter_mut().zip(xs).enumerate() {
        fetch_next(y, x.len());
        fetch_next(x_block, x.len());
        for (y, &x) in y.iter_mut().zip(x_block) {
            *y = line.at(x);
        }
        if let Some((more, _)) = more {
            fetch_next(&more[k], x.len());
            for (y, &more) in y.iter_mut().zip(&more[k]) {
                *y += more;
            }
        }
        for y in y {
            *y = rectified(*y, then);
        }
    }
    for (k, (y, &x)) in y_rest.iter_mut().zip(x_rest).enumerate() {
        *y = rectified(more.map_or(line.at(x), |(_, more)| line.at(x) + more[k]), then);
    }
}

/// dx, and the gradient of what was added, if anybody wants it. `gate` makes a gradient what it is behind the gate, of dy, x
/// and y; the first `FAR` of these come from memory. If it is `OVER` dy, dx begins as that.
#[inline(always)]
fn slope_run<const FAR: usize, const OVER: bool, T: Float>(
    slope: Slope<T>,
    [dy, x, y]: [&[T]; 3],
    gate: impl Fn([T; 3]) -> T + Copy,
    dx: &mut [T],
    added: Option<&mut [T]>,
) {
    let mut added = added.map(<[T]>::as_chunks_mut::<LANES>);
    let (dxs, dx_rest) = dx.as_chunks_mut::<LANES>();
    let ((dys, dy_rest), (xs, x_rest)) = (dy.as_chunks::<LANES>(), x.as_chunks::<LANES>());
    let (ys, y_rest) = y.as_chunks::<LANES>();
    for (k, (((dx, dy), x_block), y)) in dxs.iter_mut().zip(dys).zip(xs).zip(ys).enumerate() {
        fetch_next(dx, x.len());
        for of in &[dy, x_block, y][usize::from(OVER)..FAR] {
            fetch_next(&of[..], x.len());
        }
        let dy = if OVER { *dx } else { *dy };
        let (mut g, mut made) = ([T::ZERO; LANES], [T::ZERO; LANES]);
        for l in 0..LANES {
            g[l] = gate([dy[l], x_block[l], y[l]]);
            made[l] = slope.at(g[l], x_block[l]);
        }
        if let Some((added, _)) = &mut added {
            fetch_next(&added[k], x.len());
            added[k] = g;
        }
        *dx = made;
    }
    for (k, (((dx, &dy), &x), &y)) in dx_rest.iter_mut().zip(dy_rest).zip(x_rest).zip(y_rest).enumerate() {
        let g = gate([if OVER { *dx } else { dy }, x, y]);
        if let Some((_, added)) = &mut added {
            added[k] = g;
        }
        *dx = slope.at(g, x);
    }
}

#[inline(always)]
fn gated_slope_run<const OVER: bool, T: Float>(
    slope: Slope<T>,
    given: [&[T]; 3],
    gate: UnitGate<T>,
    dx: &mut [T],
    added: Option<&mut [T]>,
) {
    match gate {
        UnitGate::Open => slope_run::<2, OVER, T>(slope, given, |[dy, _, _]| dy, dx, added),
        UnitGate::Output => slope_run::<3, OVER, T>(slope, given, |[dy, _, y]| masked(dy, y), dx, added),
        UnitGate::Line(line) => slope_run::<2, OVER, T>(slope, given, |[dy, x, _]| masked(dy, line.at(x)), dx, added),
    }
}

simd! {
    /// The mean of a unit, and the sum of squares about it.
    fn unit_moments<T: Float>(x: &[T], samples: Samples) -> [T; 2] {
        let [sum] = sum_unit::<1, 1, T>([x, x, x], samples, |[acc], [x, _, _]| [acc + x]);
        let mean = sum / T::from_f64(samples.n() as f64);
        let [squares] = sum_unit::<0, 1, T>([x, x, x], samples, |[acc], [x, _, _]| [(x - mean).mul_add(x - mean, acc)]);
        [mean, squares]
    }

    /// Σ g and Σ g·(x − μ) over a unit.
    fn unit_sums<T: Float>(given: [&[T]; 3], samples: Samples, mean: T, gate: UnitGate<T>) -> [T; 2] {
        let add = |[plain, tilted]: [T; 2], g: T, x: T| [plain + g, g.mul_add(x - mean, tilted)];
        match gate {
            UnitGate::Open => sum_unit::<2, 2, T>(given, samples, |acc, [dy, x, _]| add(acc, dy, x)),
            UnitGate::Output => sum_unit::<3, 2, T>(given, samples, |acc, [dy, x, y]| add(acc, masked(dy, y), x)),
            UnitGate::Line(line) => {
                sum_unit::<2, 2, T>(given, samples, |acc, [dy, x, _]| add(acc, masked(dy, line.at(x)), x))
            }
        }
    }

    fn unit_lines<T: Float>(line: Line<T>, x: &[T], added: Option<&[T]>, samples: Samples, then: Then, y: &mut [T]) {
        for i in 0..samples.count {
            let added = added.map(|added| samples.run(added, i));
            let (x, y) = (samples.run(x, i), samples.run_mut(y, i));
            match then {
                Then::Nothing => line_run(line, x, added, Then::Nothing, y),
                Then::Relu => line_run(line, x, added, Then::Relu, y),
            }
        }
    }

    fn unit_slopes<T: Float>(
        slope: Slope<T>, given: [&[T]; 3], over: bool, samples: Samples, gate: UnitGate<T>, dx: &mut [T],
        added: Option<&mut [T]>,
    ) {
        let mut added = added;
        for i in 0..samples.count {
            let given = [samples.run(given[0], i), samples.run(given[1], i), samples.run(given[2], i)];
            let added = added.as_deref_mut().map(|added| samples.run_mut(added, i));
            let dx = samples.run_mut(dx, i);
            if over {
                gated_slope_run::<true, T>(slope, given, gate, dx, added);
            } else {
                gated_slope_run::<false, T>(slope, given, gate, dx, added);
            }
        }
    }
}

/// Results of units, one after another: their moments, or their sums.
#[derive(Clone, Copy, Debug, Default)]
pub struct Total {
    count: f64,
    first: f64,
    second: f64,
}

impl Total {
    fn add_moments<T: Float>(&mut self, count: usize, [mean, squares]: [T; 2]) {
        let count = count as f64;
        let (total, delta) = (self.count + count, mean.to_f64() - self.first);
        self.second += squares.to_f64() + delta * delta * (count * self.count / total);
        self.first += delta * (count / total);
        self.count = total;
    }

    fn add_sums<T: Float>(&mut self, sums: [T; 2]) {
        self.first += sums[0].to_f64();
        self.second += sums[1].to_f64();
    }
}

/// The images to be normalized and where they go.
#[derive(Debug)]
pub struct Forward<'a, T> {
    /// The images.
    pub x: &'a [T],
    /// The images added to the normalized ones, if any.
    pub added: Option<&'a [T]>,
    /// The operation afterwards.
    pub then: Then,
}

impl<T: Float> Forward<'_, T> {
    /// The two numbers that unit `u` of channel `j` adds to [`moments`](Self::moments).
    #[must_use]
    pub fn unit(&self, planes: Planes, j: usize, u: usize) -> [T; 2] {
        let (start, samples) = planes.unit(j, u);
        unit_moments(&self.x[start..], samples)
    }

    /// The moments of a channel from those of its units.
    pub fn moments(planes: Planes, eps: T, units: impl Iterator<Item = [T; 2]>) -> Moments<T> {
        let mut total = Total::default();
        for (u, unit) in units.enumerate() {
            total.add_moments(planes.unit(0, u).1.n(), unit);
        }
        let n = planes.samples() as f64;
        Moments {
            mean: T::from_f64(total.first),
            inv_std: T::ONE / (T::from_f64(total.second / n) + eps).sqrt(),
            var_unbiased: T::from_f64(total.second / (n - 1.0).max(1.0)),
        }
    }

    /// Write unit `u` of channel `j`. `y` begins where the unit does.
    pub fn apply(&self, planes: Planes, (j, u): (usize, usize), scaling: [T; 2], affine: Affine<'_, T>, y: &mut [T]) {
        let (start, samples) = planes.unit(j, u);
        let line = Line::new(scaling[0], scaling[1], at(affine.weight, j, T::ONE), at(affine.bias, j, T::ZERO));
        unit_lines(line, &self.x[start..], self.added.map(|added| &added[start..]), samples, self.then, y);
    }
}

/// The gradient of the output, and what the images were.
#[derive(Clone, Copy, Debug)]
pub struct Gradient<'a, T> {
    /// The gradient of the output; empty where dx is written over it.
    pub dy: &'a [T],
    /// The images.
    pub x: &'a [T],
    /// The gradients that pass.
    pub gate: Gate<'a, T>,
}

impl<'a, T: Float> Gradient<'a, T> {
    /// The inputs of a unit of channel `j` that begins here: x stands for those that are not read.
    fn given(&self, start: usize, j: usize, scaling: Scaling<'_, T>) -> ([&'a [T]; 3], UnitGate<T>) {
        let dy = if self.dy.is_empty() { self.x } else { self.dy };
        let (y, gate) = match self.gate {
            Gate::Open => (self.x, UnitGate::Open),
            Gate::Output(y) => (y, UnitGate::Output),
            Gate::Bias(bias) => {
                let weight = at(scaling.weight, j, T::ONE);
                let line = Line::new(scaling.mean[j], scaling.inv_std[j], weight, at(bias, j, T::ZERO));
                (self.x, UnitGate::Line(line))
            }
        };
        ([&dy[start..], &self.x[start..], &y[start..]], gate)
    }

    /// The two numbers that unit `u` of channel `j` adds to [`slope`](Self::slope).
    #[must_use]
    pub fn unit(&self, planes: Planes, (j, u): (usize, usize), scaling: Scaling<'_, T>) -> [T; 2] {
        let (start, samples) = planes.unit(j, u);
        let (given, gate) = self.given(start, j, scaling);
        unit_sums(given, samples, scaling.mean[j], gate)
    }

    /// Coefficients of dx of channel `j`, and the gradients of weight and bias. `fixed` statistics do not move with x.
    pub fn slope(
        planes: Planes,
        j: usize,
        scaling: Scaling<'_, T>,
        fixed: bool,
        units: impl Iterator<Item = [T; 2]>,
    ) -> (PlaneSlope<T>, [T; 2]) {
        let mut total = Total::default();
        units.for_each(|unit| total.add_sums(unit));
        let sums = [T::from_f64(total.first), T::from_f64(total.second)];
        let feature = [scaling.mean[j], scaling.inv_std[j], at(scaling.weight, j, T::ONE)];
        let (slope, grads) = Slope::new(sums, planes.samples(), feature, fixed);
        (PlaneSlope(slope), grads)
    }

    /// Write dx of unit `u` of channel `j`, over dy if this is empty, and the gradient of what was added. Both begin where the unit
    /// does.
    pub fn apply(
        &self,
        planes: Planes,
        (j, u): (usize, usize),
        (scaling, slope): (Scaling<'_, T>, PlaneSlope<T>),
        dx: &mut [T],
        added: Option<&mut [T]>,
    ) {
        let (start, samples) = planes.unit(j, u);
        let (given, gate) = self.given(start, j, scaling);
        unit_slopes(slope.0, given, self.dy.is_empty(), samples, gate, dx, added);
    }
}

/// (dy, x) → dx of one channel.
#[derive(Clone, Copy)]
pub struct PlaneSlope<T>(Slope<T>);

impl Planes {
    /// Start of unit `u` of channel `j`.
    #[must_use]
    pub const fn start(self, j: usize, u: usize) -> usize {
        self.unit(j, u).0
    }
}

#[cfg(test)]
mod tests;
