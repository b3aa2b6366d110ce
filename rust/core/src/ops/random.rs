//! Random tensors, and the generator of the process.
//!
//! A draw is fixed when an op is made and lives in the op: the numbers are a function of it and of an element's
//! row-major index, so that neither the team nor the layout shows.
//!
//! Where `PyTorch` differs: its numbers for a seed are others.

use std::cell::RefCell;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Mutex, PoisonError};

use smallvec::{SmallVec, smallvec};

use super::in_place::{change_on_tape, flows};
use super::put_view::overwritten;
use super::walk::Walk;
use super::{Op, Outputs, Run, apply, apply_in_place, float_dtype};
use crate::element::{DType, Float};
use crate::error::{Error, Result};
use crate::rng::{self, Draw, Generator};
use crate::tensor::layout::{Dims, row_major};
use crate::tensor::{Meta, Tensor, View};
use crate::with_float;

/// The stream of random tensors and masks.
const TENSORS: u32 = 0;
/// The stream of the data's order.
const SHUFFLES: u32 = 1;
/// The stream of noise on gradients.
const GRADIENTS: u32 = 2;

/// None until it is first asked.
static GENERATOR: Mutex<Option<Generator>> = Mutex::new(None);

thread_local! {
    /// The generator of this thread alone, while it has one.
    static OWN: RefCell<Option<Generator>> = const { RefCell::new(None) };
}

fn with_generator<R>(f: impl FnOnce(&mut Generator) -> R) -> R {
    OWN.with_borrow_mut(|own| match own {
        Some(generator) => f(generator),
        None => with_shared_generator(f),
    })
}

fn with_shared_generator<R>(f: impl FnOnce(&mut Generator) -> R) -> R {
    let mut generator = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    // The hasher's keys are random: as in PyTorch, a process that sets no seed gets another one each time.
    f(generator.get_or_insert_with(|| Generator::new(RandomState::new().hash_one(0))))
}

/// Begin again from `seed`.
pub fn manual_seed(seed: u64) {
    with_generator(|g| g.manual_seed(seed));
}

/// A draw that no other op has.
#[must_use]
pub fn next_draw() -> Draw {
    with_generator(|g| g.next_call(TENSORS))
}

/// A draw for noise on gradients.
#[must_use]
pub fn next_gradient_draw() -> Draw {
    with_generator(|g| g.next_call(GRADIENTS))
}

/// The draw that [`next_gradient_draw`] gives in a state of the generator.
#[must_use]
pub fn gradient_draw((seed, call): (u64, u64)) -> Draw {
    Draw { seed, stream: GRADIENTS, call }
}

/// The draw that an augmented batch takes in a state of the generator; its streams are its own.
#[must_use]
pub fn augment_draw((seed, call): (u64, u64)) -> Draw {
    Draw { seed, stream: 0, call }
}

/// The first of `calls` draws in a row that no other op has; the others have the calls that follow.
#[must_use]
pub fn reserve(calls: u64) -> Draw {
    with_generator(|g| {
        let first = g.next_call(TENSORS);
        g.set_state((first.seed, first.call.wrapping_add(calls)));
        first
    })
}

/// (seed, number of draws so far).
#[must_use]
pub fn state() -> (u64, u64) {
    with_generator(|g| g.state())
}

/// Let this thread draw from a generator of its own, which stands at a state; or, with `None`, from that of the process
/// again. What threads draw beside each other then depends on no clock.
///
/// Returns where the one that it had of its own stood.
pub fn set_own_state(state: Option<(u64, u64)>) -> Option<(u64, u64)> {
    OWN.replace(state.map(Generator::at)).map(|generator| generator.state())
}

/// Go on from a state.
pub fn set_state(state: (u64, u64)) {
    with_generator(|g| g.set_state(state));
}

/// The numbers 0..n in random order, for shuffling data.
///
/// # Panics
/// If n is 2³² or more.
#[must_use]
pub fn permutation(n: usize) -> Vec<u32> {
    rng::permutation(with_generator(|g| g.next_call(SHUFFLES)), n)
}

/// [`permutation`] as an int64 tensor.
pub fn randperm(n: usize) -> Result<Tensor> {
    if u32::try_from(n).is_err() {
        return Err(Error::value(format!("randperm: expected n below 2**32; got {n}")));
    }
    let order: Vec<i64> = crate::reserve::collected(permutation(n).into_iter().map(i64::from));
    Ok(Tensor::from_slice(&order, &[n]))
}

/// How numbers are distributed.
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
    /// Whole numbers, evenly over low..high; exact while `high - low` is far below 2⁵³.
    Integers {
        /// The least number.
        low: i64,
        /// The bound, above low.
        high: i64,
    },
}

impl Distribution {
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
    /// How they are distributed.
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

    fn draws(&self) -> bool {
        true
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
    /// How they are distributed.
    pub distribution: Distribution,
    /// From what they are drawn.
    pub draw: Draw,
}

impl Op for RandomFill {
    fn name(&self) -> &'static str {
        match self.distribution {
            Distribution::Uniform { .. } => "uniform_",
            Distribution::Normal { .. } => "normal_",
            Distribution::Bernoulli { .. } => "bernoulli_",
            Distribution::Integers { .. } => "random_",
        }
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

    fn draws(&self) -> bool {
        true
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

    fn draws(&self) -> bool {
        true
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
    let op = RandomFill { distribution, draw: Draw { seed: 0, stream: TENSORS, call: 0 } };
    distribution.check(op.name())?;
    op.infer(&[x.meta()])?;
    let fill = |x: &Tensor| apply_in_place(RandomFill { draw: next_draw(), ..op }, x, &[]);
    if !flows(x, &[]) {
        return fill(x);
    }
    change_on_tape(op.name(), x, |x| {
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
pub(super) mod tests;
