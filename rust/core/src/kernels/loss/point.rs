//! Losses of one input and one target at a time.
//!
//! Formulas, and derivatives at kinks, are PyTorch's.

use crate::element::Float;
use crate::kernels::unary::{c, sign};
use crate::simd;

/// The loss of one input `a` against one target `b`, with its derivatives.
pub trait Binary<T: Float>: Copy {
    /// `f(a, b)`.
    fn eval(self, a: T, b: T) -> T;
    /// ∂f/∂a.
    fn grad_a(self, a: T, b: T) -> T;
    /// ∂f/∂b.
    fn grad_b(self, a: T, b: T) -> T;
}

/// One [`Binary`] function: documentation, name, fields, `f(a, b)`, ∂f/∂a, ∂f/∂b.
macro_rules! binary {
    (@functions |$self:ident, $a:ident, $b:ident| $eval:expr, $grad_a:expr, $grad_b:expr) => {
        #[inline(always)]
        fn eval($self, $a: T, $b: T) -> T { $eval }
        #[inline(always)]
        #[allow(unused_variables)]
        fn grad_a($self, $a: T, $b: T) -> T { $grad_a }
        #[inline(always)]
        #[allow(unused_variables)]
        fn grad_b($self, $a: T, $b: T) -> T { $grad_b }
    };
    ($(#[$meta:meta])* $name:ident, $($functions:tt)+) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct $name;
        impl<T: Float> Binary<T> for $name {
            binary!(@functions $($functions)+);
        }
    };
    ($(#[$meta:meta])* $name:ident { $(#[$field_meta:meta])* $field:ident }, $($functions:tt)+) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct $name<T> { $(#[$field_meta])* pub $field: T }
        impl<T: Float> Binary<T> for $name<T> {
            binary!(@functions $($functions)+);
        }
    };
}
/// ln x, at least −100, as `PyTorch` keeps binary cross entropy finite.
#[inline(always)]
fn bounded<T: Float>(log: T) -> T {
    if log < c(-100.0) { c(-100.0) } else { log }
}

/// ln(1 + e⁻ˣ), without overflow.
#[inline(always)]
fn softplus_neg<T: Float>(x: T) -> T {
    let below = if x < T::ZERO { -x } else { T::ZERO };
    below + (-x.abs()).exp().ln_1p()
}

/// t · ln t, 0 at 0.
#[inline(always)]
fn entropy<T: Float>(t: T) -> T {
    if t == T::ZERO { T::ZERO } else { t * t.ln() }
}

/// d held to `−limit..=limit`.
#[inline(always)]
fn held<T: Float>(d: T, limit: T) -> T {
    if d.abs() < limit { d } else { limit * sign(d) }
}

binary!(/** (x − t)². */ Mse, |self, a, b| (a - b) * (a - b), (a - b) + (a - b), (b - a) + (b - a));
binary!(/** |x − t|, with derivative 0 at 0. */ L1, |self, a, b| (a - b).abs(), sign(a - b), sign(b - a));
binary!(
    /// ½ · d² / β below |d| = β, |d| − ½ · β from there, d = x − t.
    SmoothL1 {
        /// β, above 0.
        beta
    },
    |self, a, b| {
        let d = (a - b).abs();
        if d < self.beta { c::<T>(0.5) * d * d / self.beta } else { d - c::<T>(0.5) * self.beta }
    },
    held(a - b, self.beta) / self.beta,
    held(b - a, self.beta) / self.beta
);
binary!(
    /// ½ · d² below |d| = δ, δ · (|d| − ½ · δ) from there, d = x − t.
    Huber {
        /// δ, above 0.
        delta
    },
    |self, a, b| {
        let d = (a - b).abs();
        if d < self.delta { c::<T>(0.5) * d * d } else { self.delta * (d - c::<T>(0.5) * self.delta) }
    },
    held(a - b, self.delta),
    held(b - a, self.delta)
);
binary!(
    /// −t · ln x − (1 − t) · ln(1 − x), the logarithms at least −100.
    Bce,
    |self, a, b| (b - T::ONE) * bounded((-a).ln_1p()) - b * bounded(a.ln()),
    {
        let denominator = (T::ONE - a) * a;
        (a - b) / if denominator < c(1e-12) { c(1e-12) } else { denominator }
    },
    (-a).ln_1p() - a.ln()
);
binary!(
    /// Binary cross entropy of sigmoid(x): (1 − t) · x + (1 + (w − 1) · t) · ln(1 + e⁻ˣ).
    BceWithLogits {
        /// w, the weight of the positive class.
        pos_weight
    },
    |self, a, b| (T::ONE - b).mul_add(a, (self.pos_weight - T::ONE).mul_add(b, T::ONE) * softplus_neg(a)),
    (self.pos_weight - T::ONE).mul_add(b, T::ONE).mul_add(a.sigmoid(), -(self.pos_weight * b)),
    (self.pos_weight - T::ONE) * softplus_neg(a) - a
);
binary!(/** t · (ln t − x), for x a log-probability. */ KlDiv, |self, a, b| entropy(b) - b * a, -b, b.ln() + T::ONE - a);
binary!(
    /// eᵗ · (t − x), for x and t log-probabilities.
    KlDivLog,
    |self, a, b| b.exp() * (b - a),
    -b.exp(),
    b.exp() * (b - a + T::ONE)
);

simd! {
    /// out ← f(a, b)
    pub fn zip<T: Float, B: Binary<T>>(op: B, a: &[T], b: &[T], out: &mut [T]) {
        debug_assert!(a.len() == out.len() && b.len() == out.len());
        for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
            *out = op.eval(a, b);
        }
    }

    /// out ← grad · ∂f/∂a
    pub fn zip_grad_a<T: Float, B: Binary<T>>(op: B, grad: &[T], a: &[T], b: &[T], out: &mut [T]) {
        debug_assert!(a.len() == out.len() && b.len() == out.len() && grad.len() == out.len());
        for (((out, &grad), &a), &b) in out.iter_mut().zip(grad).zip(a).zip(b) {
            *out = grad * op.grad_a(a, b);
        }
    }

    /// out ← grad · ∂f/∂b
    pub fn zip_grad_b<T: Float, B: Binary<T>>(op: B, grad: &[T], a: &[T], b: &[T], out: &mut [T]) {
        debug_assert!(a.len() == out.len() && b.len() == out.len() && grad.len() == out.len());
        for (((out, &grad), &a), &b) in out.iter_mut().zip(grad).zip(a).zip(b) {
            *out = grad * op.grad_b(a, b);
        }
    }
}

/// A loss of one input and one target at a time, chosen at run time; each call matches once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PointLoss {
    /// (x − t)².
    Mse,
    /// |x − t|.
    L1,
    /// ½ · d² / β below |d| = β, |d| − ½ · β from there, d = x − t; |d| for β = 0.
    SmoothL1 {
        /// β, at least 0.
        beta: f64,
    },
    /// ½ · d² below |d| = δ, δ · (|d| − ½ · δ) from there, d = x − t.
    Huber {
        /// δ, above 0.
        delta: f64,
    },
    /// −t · ln x − (1 − t) · ln(1 − x), the logarithms at least −100.
    Bce,
    /// Binary cross entropy of sigmoid(x). A weight for each class: call it on each column's slices.
    BceWithLogits {
        /// The weight of the positive class, 1 for none.
        pos_weight: f64,
    },
    /// t · (ln t − x), or eᵗ · (t − x); x is a log-probability.
    KlDiv {
        /// True if the target is a log-probability too.
        log_target: bool,
    },
}

/// Evaluate `$body` with `$op` the function of `$loss`, for elements of `$t`.
macro_rules! with_op {
    ($loss:expr, $t:ty, $op:ident => $body:expr) => {
        match $loss {
            PointLoss::Mse => with_op!(@ $op = Mse, $body),
            PointLoss::L1 | PointLoss::SmoothL1 { beta: 0.0 } => with_op!(@ $op = L1, $body),
            PointLoss::SmoothL1 { beta } => with_op!(@ $op = SmoothL1 { beta: c::<$t>(beta) }, $body),
            PointLoss::Huber { delta } => with_op!(@ $op = Huber { delta: c::<$t>(delta) }, $body),
            PointLoss::Bce => with_op!(@ $op = Bce, $body),
            PointLoss::BceWithLogits { pos_weight } => {
                with_op!(@ $op = BceWithLogits { pos_weight: c::<$t>(pos_weight) }, $body)
            }
            PointLoss::KlDiv { log_target: false } => with_op!(@ $op = KlDiv, $body),
            PointLoss::KlDiv { log_target: true } => with_op!(@ $op = KlDivLog, $body),
        }
    };
    (@ $op:ident = $value:expr, $body:expr) => {{
        let $op = $value;
        $body
    }};
}

impl PointLoss {
    /// out ← loss(input, target)
    pub fn forward<T: Float>(self, input: &[T], target: &[T], out: &mut [T]) {
        with_op!(self, T, op => zip(op, input, target, out));
    }

    /// out ← grad · ∂loss/∂input
    pub fn grad_input<T: Float>(self, grad: &[T], input: &[T], target: &[T], out: &mut [T]) {
        with_op!(self, T, op => zip_grad_a(op, grad, input, target, out));
    }

    /// out ← grad · ∂loss/∂target
    pub fn grad_target<T: Float>(self, grad: &[T], input: &[T], target: &[T], out: &mut [T]) {
        with_op!(self, T, op => zip_grad_b(op, grad, input, target, out));
    }
}

#[cfg(test)]
mod tests;
