//! Random tensors, and the generators that they draw from.
//!
//! A draw is fixed when an op is made and lives in the op: the numbers are a function of it and of an element's
//! row-major index, so that neither the team nor the layout shows.
//!
//! Difference to `PyTorch`: its numbers for a seed are others.

mod permutation;
mod source;

use smallvec::{SmallVec, smallvec};

pub use permutation::{RandPerm, permutation, randperm};
pub use source::{
    FitDraws, advance, augment_draw, begin_fit, begin_training, end_fit, gradient_draw, manual_seed, manual_seed_own,
    next_draw, next_gradient_draw, reserve, set_own_state, set_state, set_state_own, state,
};

use super::in_place::{change_on_tape, check_target, flows};
use super::put_view::overwritten;
use super::walk::Walk;
use super::{Op, Outputs, Run, apply, apply_in_place, check_writable, float_dtype};
use crate::element::{DType, Float};
use crate::error::{Error, Result};
use crate::rng::{self, Draw};
use crate::tensor::layout::{Dims, row_major};
use crate::tensor::{Meta, Tensor, View};
use crate::with_float;

/// Distribution of random numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Distribution {
    /// Evenly over [low, high).
    Uniform {
        /// The least number.
        low: f64,
        /// The bound, which rounding alone may reach.
        high: f64,
    },
    /// By the normal distribution.
    Normal {
        /// Its mean.
        mean: f64,
        /// Its standard deviation, not negative.
        std: f64,
    },
    /// 1 with probability p, else 0.
    Bernoulli {
        /// In [0, 1].
        p: f64,
    },
    /// Whole numbers, evenly over low..high, as far as 64 bits can be: 53 where `high - low` is at most 2⁵³.
    Integers {
        /// The least number.
        low: i64,
        /// The bound, above low.
        high: i64,
    },
}

impl Distribution {
    /// Name, in errors, of the op that fills a tensor with it.
    fn name(self) -> &'static str {
        match self {
            Self::Uniform { .. } => "uniform_",
            Self::Normal { .. } => "normal_",
            Self::Bernoulli { .. } => "bernoulli_",
            Self::Integers { .. } => "random_",
        }
    }

    /// Refuse parameters that make no distribution; `op` names the caller.
    fn check(self, op: &str) -> Result<()> {
        let wrong = match self {
            Self::Uniform { low, high } if low > high => format!("low <= high; got {low} and {high}"),
            Self::Normal { std, .. } if std.is_nan() || std < 0.0 => format!("std >= 0; got {std}"),
            Self::Bernoulli { p } if !(0.0..=1.0).contains(&p) => format!("p in [0, 1]; got {p}"),
            Self::Integers { low, high } if low >= high => format!("low < high; got {low} and {high}"),
            _ => return Ok(()),
        };
        Err(Error::value(format!("{op}: expected {wrong}")))
    }

    /// Numbers at positions `first`, `first + 1`, … of the draw.
    fn fill<T: Float>(self, draw: Draw, first: usize, out: &mut [T]) {
        match self {
            Self::Uniform { low, high } => {
                rng::uniform(draw, first, out);
                scale(T::from_f64(high - low), T::from_f64(low), out);
            }
            Self::Normal { mean, std } => {
                rng::normal(draw, first, out);
                scale(T::from_f64(std), T::from_f64(mean), out);
            }
            Self::Bernoulli { p } => {
                let mut bits = [0; BUFFER];
                for (i, out) in out.chunks_mut(BUFFER).enumerate() {
                    rng::bernoulli(draw, p, first + i * BUFFER, &mut bits[..out.len()]);
                    for (out, &bit) in out.iter_mut().zip(&bits) {
                        *out = if bit == 1 { T::ONE } else { T::ZERO };
                    }
                }
            }
            Self::Integers { .. } => unreachable!("the shape rule gives integers their type"),
        }
    }
}

/// Numbers that are made at once where they cannot be made in place.
const BUFFER: usize = 256;

crate::simd! {
    /// x ← x · factor + offset
    fn scale<T: Float>(factor: T, offset: T, x: &mut [T]) {
        for x in x {
            *x = x.mul_add(factor, offset);
        }
    }
}

fn integers(low: i64, high: i64, draw: Draw, first: usize, out: &mut [i64]) {
    let width = high.wrapping_sub(low) as u64;
    if width > 1 << 53 {
        // More numbers than a float64 has below 1: the 64 bits of the two words of which it would be made.
        for (position, out) in (first..).zip(out) {
            let words = draw.block((position / 2) as u64);
            let [low_half, high_half] = [0, 1].map(|half| u64::from(words[position % 2 * 2 + half]));
            let product = u128::from(low_half | high_half << 32) * u128::from(width);
            *out = low.wrapping_add((product >> 64) as i64);
        }
        return;
    }
    let mut unit = [0.0_f64; BUFFER];
    for (i, out) in out.chunks_mut(BUFFER).enumerate() {
        rng::uniform(draw, first + i * BUFFER, &mut unit[..out.len()]);
        for (out, &u) in out.iter_mut().zip(&unit) {
            *out = low.wrapping_add(((u * width as f64) as u64).min(width - 1) as i64);
        }
    }
}

/// This op's draw in this run.
pub(super) fn at_replay(draw: Draw, run: &Run<'_>) -> Draw {
    Draw { call: draw.call.wrapping_add(run.replay), ..draw }
}

/// A tensor of random numbers: no inputs.
#[derive(Clone, Debug)]
pub struct Random {
    /// Distribution of the numbers.
    pub distribution: Distribution,
    /// From what they are drawn.
    pub draw: Draw,
    /// Shape and dtype: int64 for [`Distribution::Integers`], else a float.
    pub meta: Meta,
}

impl Op for Random {
    fn name(&self) -> &'static str {
        "random"
    }

    fn infer(&self, _inputs: &[Meta]) -> Result<Outputs> {
        let integers = matches!(self.distribution, Distribution::Integers { .. });
        if integers && self.meta.dtype != DType::I64 {
            return Err(Error::dtype(format!("randint: expected dtype int64; got {}", self.meta.dtype)));
        }
        if !integers && !self.meta.dtype.is_float() {
            return Err(Error::dtype(format!("rand: expected a floating-point dtype; got {}", self.meta.dtype)));
        }
        Ok(smallvec![self.meta.clone()])
    }

    fn run(&self, run: &Run<'_>, _inputs: &[View<'_>], outputs: &[View<'_>]) {
        let draw = at_replay(self.draw, run);
        let share = run.team.share(outputs[0].numel());
        if let Distribution::Integers { low, high } = self.distribution {
            // SAFETY: members have different shares.
            return integers(low, high, draw, share.start, unsafe { outputs[0].part(share.clone()) });
        }
        with_float!(outputs[0].dtype(), T => {
            // SAFETY: members have different shares.
            self.distribution.fill::<T>(draw, share.start, unsafe { outputs[0].part(share.clone()) });
        });
    }

    fn draw(&self) -> Option<Draw> {
        Some(self.draw)
    }

    fn differentiable(&self) -> bool {
        false
    }

    fn work(&self, _inputs: &[Meta], outputs: &[Meta]) -> usize {
        outputs[0].numel() * 3
    }
}

/// Overwrite a tensor with random numbers: input the tensor, of any layout.
#[derive(Clone, Debug)]
pub struct RandomFill {
    /// Distribution of the numbers.
    pub distribution: Distribution,
    /// From what they are drawn.
    pub draw: Draw,
}

impl Op for RandomFill {
    fn name(&self) -> &'static str {
        self.distribution.name()
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        float_dtype(self.name(), inputs)?;
        Ok(SmallVec::new())
    }

    fn strided(&self) -> bool {
        true
    }

    fn in_place(&self) -> bool {
        true
    }

    fn writes_all(&self) -> bool {
        true
    }

    fn draw(&self) -> Option<Draw> {
        Some(self.draw)
    }

    fn differentiable(&self) -> bool {
        false
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], _outputs: &[View<'_>]) {
        let x = &inputs[0];
        let draw = at_replay(self.draw, run);
        // The second operand's offsets are row-major indices: positions of the draw.
        let walk = Walk::new(x.shape(), [x.strides(), &row_major(x.shape())]);
        with_float!(x.dtype(), T => {
            let mut buffer = [T::default(); BUFFER];
            walk.run(run.team, |at, n, step| {
                for start in (0..n).step_by(BUFFER) {
                    let buffer = &mut buffer[..BUFFER.min(n - start)];
                    self.distribution.fill(draw, at[1] as usize + start, buffer);
                    for (i, &value) in (start as isize..).zip(&*buffer) {
                        // SAFETY: offsets of x's layout; members of the team write different elements.
                        unsafe { *x.ptr::<T>().offset(at[0] + i * step[0]) = value };
                    }
                }
            });
        });
    }

    fn work(&self, inputs: &[Meta], _outputs: &[Meta]) -> usize {
        inputs[0].numel() * 3
    }
}

/// 1 with the probability that stands at an element's place, else 0: input the probabilities.
#[derive(Clone, Debug)]
pub struct Bernoulli {
    /// From what they are drawn.
    pub draw: Draw,
}

impl Op for Bernoulli {
    fn name(&self) -> &'static str {
        "bernoulli"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let dtype = float_dtype(self.name(), inputs)?;
        Ok(smallvec![Meta { shape: inputs[0].shape.clone(), dtype }])
    }

    fn checks(&self) -> bool {
        true
    }

    fn check(&self, inputs: &[View<'_>]) -> Result<()> {
        with_float!(inputs[0].dtype(), T => {
            match inputs[0].slice::<T>().iter().find(|p| !(0.0..=1.0).contains(&p.to_f64())) {
                Some(p) => Err(Error::value(format!("bernoulli: expected probabilities in [0, 1]; got {p}"))),
                None => Ok(()),
            }
        })
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let draw = at_replay(self.draw, run);
        with_float!(outputs[0].dtype(), T => {
            let share = run.team.share(outputs[0].numel());
            let p = &inputs[0].slice::<T>()[share.clone()];
            // SAFETY: members have different shares.
            let out = unsafe { outputs[0].part::<T>(share.clone()) };
            rng::uniform(draw, share.start, out);
            for (out, &p) in out.iter_mut().zip(p) {
                *out = if *out < p { 1.0 } else { 0.0 };
            }
        });
    }

    fn draw(&self) -> Option<Draw> {
        Some(self.draw)
    }

    fn differentiable(&self) -> bool {
        false
    }

    fn work(&self, inputs: &[Meta], _outputs: &[Meta]) -> usize {
        inputs[0].numel() * 3
    }
}

/// A new tensor of random numbers. The draw is taken once all is known to fit.
pub fn random(op: &str, distribution: Distribution, shape: &[usize], dtype: DType) -> Result<Tensor> {
    distribution.check(op)?;
    let meta = Meta { shape: Dims::from_slice(shape), dtype };
    apply(Random { distribution, draw: next_draw(), meta }, &[])
}

/// Numbers of [0, 1).
pub fn rand(shape: &[usize], dtype: DType) -> Result<Tensor> {
    random("rand", Distribution::Uniform { low: 0.0, high: 1.0 }, shape, dtype)
}

/// Standard normal numbers.
pub fn randn(shape: &[usize], dtype: DType) -> Result<Tensor> {
    random("randn", Distribution::Normal { mean: 0.0, std: 1.0 }, shape, dtype)
}

/// Whole numbers of low..high, as int64.
pub fn randint(low: i64, high: i64, shape: &[usize]) -> Result<Tensor> {
    random("randint", Distribution::Integers { low, high }, shape, DType::I64)
}

/// 1 with the probability that stands at an element's place in `p`, else 0.
pub fn bernoulli(p: &Tensor) -> Result<Tensor> {
    apply(Bernoulli { draw: next_draw() }, &[p])
}

fn fill(x: &Tensor, distribution: Distribution) -> Result<()> {
    let name = distribution.name();
    distribution.check(name)?;
    // A refused target takes no call of the generator.
    check_target(name, x)?;
    check_writable(name, x)?;
    let fill = |x: &Tensor| apply_in_place(RandomFill { distribution, draw: next_draw() }, x, &[]);
    if !flows(x, &[]) {
        return fill(x);
    }
    change_on_tape(name, x, |x| {
        let new = Tensor::empty(x.shape(), x.dtype());
        fill(&new)?;
        overwritten(x, &new)
    })
}

/// Overwrite x with numbers of [low, high).
pub fn uniform_(x: &Tensor, low: f64, high: f64) -> Result<()> {
    fill(x, Distribution::Uniform { low, high })
}

/// Overwrite x with normal numbers.
pub fn normal_(x: &Tensor, mean: f64, std: f64) -> Result<()> {
    fill(x, Distribution::Normal { mean, std })
}

/// Overwrite x with 1 with probability p, else 0.
pub fn bernoulli_(x: &Tensor, p: f64) -> Result<()> {
    fill(x, Distribution::Bernoulli { p })
}

#[cfg(test)]
pub(crate) mod tests;
