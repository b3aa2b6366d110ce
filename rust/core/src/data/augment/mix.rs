//! Images of a batch in pairs: `MixUp` and `CutMix`.

use std::ops::Range;

use super::Shape;
use super::words::Words;
use crate::element::Float;
use crate::error::{Error, Result};
use crate::kernels::image::{Pixel, blend, load, store};
use crate::rng::{self, Draw};

/// A way in which two images become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MixKind {
    /// Weighted sums.
    Up,
    /// A rectangle of the other.
    Cut,
}

/// Ways of mixing the images of a batch, of which each batch takes one.
#[derive(Clone, Debug, PartialEq)]
pub struct Mix {
    /// With which probability at all.
    pub p: f64,
    /// Probability of each way; they sum to 1.
    pub weights: Vec<f64>,
    /// Probability, kind, and both parameters of the beta distribution of λ.
    pub ways: Vec<(f64, MixKind, f64)>,
    /// Number of classes, where targets are class indices.
    pub classes: Option<usize>,
}

/// The mixing drawn for one batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixed {
    /// The share of an image's own target.
    pub lambda: f64,
    /// The other one of each pair; none where nothing is mixed.
    pub partner: Vec<u32>,
    /// Rows and columns that come from the other; none for sums.
    pub rectangle: Option<(Range<usize>, Range<usize>)>,
}

/// The first whose share of [0, 1) the number lies in.
pub(super) fn chosen(weights: &[f64], unit: f64) -> usize {
    let mut sum = 0.0;
    for (i, weight) in weights.iter().enumerate() {
        sum += weight;
        if unit < sum {
            return i;
        }
    }
    weights.len() - 1
}

impl Mix {
    pub(super) fn draws(&self) -> bool {
        self.ways.iter().any(|&(p, _, alpha)| p > 0.0 && alpha > 0.0) && self.p > 0.0
    }

    pub(super) fn needs_images(&self) -> bool {
        self.ways.iter().any(|&(_, kind, _)| kind == MixKind::Cut)
    }

    pub(super) fn draw(&self, draw: Draw, order: Draw, n: usize, shape: Shape) -> Mixed {
        let none = Mixed { lambda: 1.0, partner: Vec::new(), rectangle: None };
        let mut words = Words::new(draw, 0);
        if !words.happens(self.p) {
            return none;
        }
        let (p, kind, alpha) = self.ways[chosen(&self.weights, words.unit())];
        if !words.happens(p) || alpha == 0.0 {
            return none;
        }
        let lambda = words.beta(alpha);
        let partner = rng::permutation(order, n);
        if kind == MixKind::Up {
            return Mixed { lambda, partner, rectangle: None };
        }
        let Shape { h, w, .. } = shape;
        let half = 0.5 * (1.0 - lambda).sqrt();
        let side = |middle: usize, n: usize| {
            let reach = (half * n as f64) as usize;
            middle.saturating_sub(reach)..(middle + reach).min(n)
        };
        let (y, x) = (words.below(h), words.below(w));
        let (rows, columns) = (side(y, h), side(x, w));
        let area = (rows.len() * columns.len()) as f64 / (h * w) as f64;
        Mixed { lambda: 1.0 - area, partner, rectangle: Some((rows, columns)) }
    }
}

impl Mixed {
    /// The partner of image `i`: itself where nothing is mixed.
    #[must_use]
    pub fn partner(&self, i: usize) -> usize {
        self.partner.get(i).map_or(i, |&j| j as usize)
    }
}

/// Image `i` of a batch, mixed with its partner: `λ·x[i] + (1 − λ)·x[j]`, or `x[i]` with the rectangle of `x[j]`.
pub fn mix_images<S: Pixel>(mixed: &Mixed, i: usize, shape: Shape, x: &[S], out: &mut [S]) {
    let (n, j) = (shape.numel(), mixed.partner(i));
    let (own, other) = (&x[i * n..(i + 1) * n], &x[j * n..(j + 1) * n]);
    if mixed.partner.is_empty() {
        out.copy_from_slice(own);
    } else if let Some((rows, columns)) = &mixed.rectangle {
        out.copy_from_slice(own);
        for row in (0..shape.c).flat_map(|c| rows.clone().map(move |y| c * shape.h + y)) {
            let columns = row * shape.w + columns.start..row * shape.w + columns.end;
            out[columns.clone()].copy_from_slice(&other[columns]);
        }
    } else {
        let (a, b) = (S::Compute::from_f64(mixed.lambda), S::Compute::from_f64(1.0 - mixed.lambda));
        let mut values = [[S::Compute::ZERO; 64]; 3];
        for ((own, other), out) in own.chunks(64).zip(other.chunks(64)).zip(out.chunks_mut(64)) {
            let [first, second, sum] = &mut values;
            let count = own.len();
            load(own, first);
            load(other, second);
            blend(a, &first[..count], b, &second[..count], &mut sum[..count]);
            store(&sum[..count], out);
        }
    }
}

/// The probabilities of row `i`, whose class is `label(i)`, for its partner's too, each times what its sample counts for:
///
/// ```text
/// out ← (λ·w[i]·e(y[i]) + (1 − λ)·w[j]·e(y[j])) / (λ·w[i] + (1 − λ)·w[j])
/// ```
///
/// Times [`mix_weights`], any loss that is linear in the target is the mixture of both samples' losses.
pub fn mix_labels<T: Float>(
    mixed: &Mixed,
    i: usize,
    label: impl Fn(usize) -> i64,
    weight: impl Fn(usize) -> f64,
    out: &mut [T],
) -> Result<()> {
    let j = mixed.partner(i);
    let (own, other) = match (weight(i), weight(j)) {
        // A row that counts for nothing has whatever target.
        (0.0, 0.0) => (mixed.lambda, 1.0 - mixed.lambda),
        (own, other) => (mixed.lambda * own, (1.0 - mixed.lambda) * other),
    };
    out.fill(T::ZERO);
    let classes = out.len();
    let mut add = |row: usize, share: f64| {
        let class = label(row);
        let place = usize::try_from(class).ok().and_then(|class| out.get_mut(class));
        let Some(place) = place else {
            return Err(Error::value(format!("augment: expected targets in [0, {classes}); got {class}")));
        };
        *place += T::from_f64(share);
        Ok(())
    };
    if mixed.partner.is_empty() || label(i) == label(j) {
        return add(i, 1.0);
    }
    if own + other == 0.0 {
        return add(i, 1.0);
    }
    add(i, own / (own + other))?;
    add(j, other / (own + other))
}

/// Weight of the mixture in row `i`: `λ·w[i] + (1 − λ)·w[j]`.
#[must_use]
pub fn mix_weights(mixed: &Mixed, i: usize, weight: impl Fn(usize) -> f64) -> f64 {
    mixed.lambda * weight(i) + (1.0 - mixed.lambda) * weight(mixed.partner(i))
}

/// Targets that are numbers: `λ·y[i] + (1 − λ)·y[j]`.
pub fn mix_targets<T: Float>(mixed: &Mixed, own: &[T], other: &[T], out: &mut [T]) {
    if mixed.partner.is_empty() {
        out.copy_from_slice(own);
    } else {
        blend(T::from_f64(mixed.lambda), own, T::from_f64(1.0 - mixed.lambda), other, out);
    }
}
