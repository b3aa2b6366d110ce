//! Activations: the functions, and [`Activation`], which chooses one at run time.
//!
//! Formulas and derivatives at kinks are `PyTorch`'s. A derivative is taken from the output where that determines it, so that
//! an activation may overwrite its input; `elu` so differs from `PyTorch`, which evaluates α·eˣ again, by rounding of α only.

use super::unary::{Unary, c, clamp, map, map_grad, map_grad_in_place, map_in_place, unary};
use crate::element::Float;

pub(crate) const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;
pub(crate) const SELU_SCALE: f64 = 1.050_700_987_355_480_5;
pub(crate) const SQRT_2_OVER_PI: f64 = std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2;
pub(crate) const GELU_CUBIC: f64 = 0.044_715;

unary!(
    /// max(x, 0), with derivative 0 at 0. NaN stays.
    Relu,
    output,
    |self, x| if x <= T::ZERO { T::ZERO } else { x },
    |_x, y| if y <= T::ZERO { T::ZERO } else { T::ONE },
    |grad_y, _x, y| if y <= T::ZERO { T::ZERO } else { grad_y }
);
unary!(
    /// x where positive, otherwise slope · x. `slope` is not negative.
    LeakyRelu {
        /// The derivative at 0 and below, at least 0.
        slope
    },
    output,
    |self, x| if x > T::ZERO { x } else { x * self.slope },
    |_x, y| if y > T::ZERO { T::ONE } else { self.slope }
);
unary!(
    /// [`LeakyRelu`] of any slope, which must keep its input.
    LeakyReluAnySlope {
        /// The derivative at 0 and below.
        slope
    },
    input,
    |self, x| if x > T::ZERO { x } else { x * self.slope },
    |x, _y| if x > T::ZERO { T::ONE } else { self.slope }
);
unary!(
    /// x where positive, otherwise α · (eˣ − 1). `alpha` is not negative.
    Elu {
        /// Minus the limit at −∞, at least 0.
        alpha
    },
    output,
    |self, x| if x <= T::ZERO { self.alpha * x.exp_m1() } else { x },
    |_x, y| if y <= T::ZERO { y + self.alpha } else { T::ONE }
);
unary!(
    /// [`Elu`] of any α, which must keep its input.
    EluAnyAlpha {
        /// Minus the limit at −∞.
        alpha
    },
    input,
    |self, x| if x <= T::ZERO { self.alpha * x.exp_m1() } else { x },
    |x, _y| if x <= T::ZERO { self.alpha * x.exp() } else { T::ONE }
);
unary!(
    /// λ · elu(x) with the constants of Klambauer et al. 2017, <https://arxiv.org/abs/1706.02515>.
    Selu,
    output,
    |self, x| if x <= T::ZERO { c::<T>(SELU_SCALE * SELU_ALPHA) * x.exp_m1() } else { c::<T>(SELU_SCALE) * x },
    |_x, y| if y <= T::ZERO { y + c(SELU_SCALE * SELU_ALPHA) } else { c(SELU_SCALE) }
);
unary!(
    /// x · Φ(x), with Φ = ½ · (1 + erf(x / √2)).
    GeluErf,
    input,
    |self, x| x * (c::<T>(0.5) * (T::ONE + (x * c(std::f64::consts::FRAC_1_SQRT_2)).erf())),
    |x, _y| {
        let cdf = c::<T>(0.5) * (T::ONE + (x * c(std::f64::consts::FRAC_1_SQRT_2)).erf());
        let pdf = c::<T>(0.5 * std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2)
            * (c::<T>(-0.5) * (x * x)).exp();
        x.mul_add(pdf, cdf)
    }
);
unary!(
    /// ½ · x · (1 + tanh(√(2/π) · (x + 0.044715 · x³))).
    GeluTanh,
    input,
    |self, x| c::<T>(0.5) * x * (T::ONE + gelu_inner(x).tanh()),
    |x, _y| {
        let tanh = gelu_inner(x).tanh();
        let inner_grad = c::<T>(SQRT_2_OVER_PI) * (x * x).mul_add(c(3.0 * GELU_CUBIC), T::ONE);
        let right = c::<T>(0.5) * x * (T::ONE - tanh * tanh) * inner_grad;
        c::<T>(0.5).mul_add(T::ONE + tanh, right)
    }
);
unary!(
    /// x · sigmoid(x).
    Silu,
    input,
    |self, x| x * x.sigmoid(),
    |x, _y| {
        let s = x.sigmoid();
        s * x.mul_add(T::ONE - s, T::ONE)
    }
);
unary!(
    /// x · tanh(ln(1 + eˣ)).
    Mish,
    input,
    |self, x| x * x.exp().ln_1p().tanh(),
    |x, _y| {
        let t = x.exp().ln_1p().tanh();
        (x * x.sigmoid()).mul_add(T::ONE - t * t, t)
    }
);
unary!(
    /// x · min(max(x + 3, 0), 6) / 6, with derivative 0 at −3 and 1 at 3.
    Hardswish,
    input,
    |self, x| x * clamp(x + c(3.0), T::ZERO, c(6.0)) / c(6.0),
    |x, _y| {
        let inside = if x < c(3.0) { x / c(3.0) + c(0.5) } else { T::ONE };
        if x <= c(-3.0) { T::ZERO } else { inside }
    },
    |grad_y, x, _y| {
        let inside = if x < c(3.0) { grad_y * (x / c(3.0) + c(0.5)) } else { grad_y };
        if x <= c(-3.0) { T::ZERO } else { inside }
    }
);
unary!(/** 1 / (1 + e⁻ˣ). */ Sigmoid, output, |self, x| x.sigmoid(), |_x, y| (T::ONE - y) * y);
unary!(/** tanh x. */ Tanh, output, |self, x| x.tanh(), |_x, y| T::ONE - y * y);
unary!(
    /// ln(1 + e^(β·x)) / β; x itself where β·x is above the threshold.
    Softplus {
        /// β, above 0.
        beta,
        /// Of β·x, above which the function is linear.
        threshold
    },
    input,
    |self, x| {
        let scaled = x * self.beta;
        if scaled > self.threshold { x } else { scaled.exp().ln_1p() / self.beta }
    },
    |x, _y| {
        let scaled = x * self.beta;
        if scaled > self.threshold { T::ONE } else { scaled.sigmoid() }
    }
);
unary!(
    /// x held to `min..=max`. The derivative is 0 at both ends, unlike that of `clamp`.
    Hardtanh {
        /// The least value.
        min,
        /// The greatest value, above `min`.
        max
    },
    output,
    |self, x| clamp(x, self.min, self.max),
    |_x, y| if (y <= self.min) | (y >= self.max) { T::ZERO } else { T::ONE },
    |grad_y, _x, y| if (y <= self.min) | (y >= self.max) { T::ZERO } else { grad_y }
);

#[inline(always)]
fn gelu_inner<T: Float>(x: T) -> T {
    c::<T>(SQRT_2_OVER_PI) * (x * x * x).mul_add(c(GELU_CUBIC), x)
}

/// The table of activations: `activations!(then …)` calls the macro `then!` with these arguments and the rows.
///
/// ```text
/// Variant { settings } "name in errors" fn function, cost, require condition => [condition => Kernel] Kernel;
/// ```
/// The function stands in `ops::activation` and in the bindings. The cost is that of an element, in tenths of a nanosecond.
/// With two kernels, the first one is taken if its condition holds.
#[macro_export]
#[doc(hidden)]
macro_rules! activations {
    ($then:ident $($given:tt)*) => {
        $then! {
            $($given)*
            Relu "relu" fn relu, 2 => Relu;
            Relu6 "relu6" fn relu6, 2 => Hardtanh { min: 0.0, max: 6.0 };
            LeakyRelu { negative_slope } "leaky_relu" fn leaky_relu, 2
                => [negative_slope >= 0.0 => LeakyRelu { slope: negative_slope }] LeakyReluAnySlope { slope: negative_slope };
            Elu { alpha } "elu" fn elu, 10 => [alpha >= 0.0 => Elu { alpha: alpha }] EluAnyAlpha { alpha: alpha };
            Selu "selu" fn selu, 10 => Selu;
            GeluErf "gelu", 20 => GeluErf;
            GeluTanh "gelu", 20 => GeluTanh;
            Silu "silu" fn silu, 10 => Silu;
            Mish "mish" fn mish, 30 => Mish;
            Hardswish "hardswish" fn hardswish, 3 => Hardswish;
            Sigmoid "sigmoid" fn sigmoid, 10 => Sigmoid;
            Tanh "tanh" fn tanh, 10 => Tanh;
            Softplus { beta, threshold } "softplus" fn softplus, 20 => Softplus { beta: beta, threshold: threshold };
            Hardtanh { min_val, max_val } "hardtanh" fn hardtanh, 2, require min_val <= max_val
                => Hardtanh { min: min_val, max: max_val };
        }
    };
}

/// The enum of the rows, with its names and costs.
macro_rules! choose {
    ($(
        $variant:ident $({ $($setting:ident),+ })? $name:literal $(fn $function:ident)?, $cost:literal
        $(, require $low:ident <= $high:ident)?
        => $([$condition:expr => $first:ident { $($first_field:ident: $first_value:expr),+ }])?
           $kernel:ident $({ $($field:ident: $value:expr),+ })?;
    )+) => {
        /// An activation, chosen at run time; each call matches once.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub enum Activation {
            $(
                #[doc = concat!("`", $name, "` of `nn.functional`.")]
                $variant $({ $(#[doc = concat!("Its `", stringify!($setting), "`.")] $setting: f64),+ })?,
            )+
        }

        impl Activation {
            /// Its name in `nn.functional`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $name,)+
                }
            }

            /// Tenths of a nanosecond that an element takes.
            #[must_use]
            pub const fn cost(self) -> usize {
                match self {
                    $(Self::$variant { .. } => $cost,)+
                }
            }
        }
    };
}
activations!(choose);

/// Evaluate `$body` with `$op` the kernel of `$activation`, for elements of `$t`.
macro_rules! with_op {
    ($activation:expr, $t:ty, $op:ident => $body:expr) => {
        activations!(dispatch($activation, $t, $op, $body))
    };
}

/// The match of `with_op!`.
macro_rules! dispatch {
    (($activation:expr, $t:ty, $op:ident, $body:expr) $(
        $variant:ident $({ $($setting:ident),+ })? $name:literal $(fn $function:ident)?, $cost:literal
        $(, require $low:ident <= $high:ident)?
        => $([$condition:expr => $first:ident { $($first_field:ident: $first_value:expr),+ }])?
           $kernel:ident $({ $($field:ident: $value:expr),+ })?;
    )+) => {
        match $activation {
            $(Activation::$variant $({ $($setting),+ })? => {
                $(if $condition {
                    let $op = $first { $($first_field: c::<$t>($first_value)),+ };
                    $body
                } else)? {
                    let $op = $kernel $({ $($field: c::<$t>($value)),+ })?;
                    $body
                }
            })+
        }
    };
}

impl Activation {
    /// y ← f(x)
    pub fn forward<T: Float>(self, x: &[T], y: &mut [T]) {
        with_op!(self, T, op => map(op, x, y));
    }

    /// x ← f(x)
    pub fn forward_in_place<T: Float>(self, x: &mut [T]) {
        with_op!(self, T, op => map_in_place(op, x));
    }

    /// out ← grad · f′. `x` and `y` may be empty where they are not needed.
    pub fn backward<T: Float>(self, grad: &[T], x: &[T], y: &[T], out: &mut [T]) {
        with_op!(self, T, op => map_grad(op, grad, x, y, out));
    }

    /// grad ← grad · f′. `x` and `y` may be empty where they are not needed.
    pub fn backward_in_place<T: Float>(self, grad: &mut [T], x: &[T], y: &[T]) {
        with_op!(self, T, op => map_grad_in_place(op, grad, x, y));
    }

    /// True if backward reads the input.
    #[must_use]
    pub fn needs_input(self) -> bool {
        with_op!(self, f32, op => needs(op).0)
    }

    /// True if backward reads the output.
    #[must_use]
    pub fn needs_output(self) -> bool {
        with_op!(self, f32, op => needs(op).1)
    }
}

fn needs<U: Unary<f32>>(_op: U) -> (bool, bool) {
    (U::NEEDS_INPUT, U::NEEDS_OUTPUT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{bits, random};
    use crate::kernels::unary::tests::check;

    #[test]
    fn functions_match_their_formulas() {
        let elu = |x: f64, alpha: f64| if x > 0.0 { x } else { alpha * x.exp_m1() };
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        check(Relu, Relu, |x| x.max(0.0), 0.0, 1.0);
        for slope in [0.25, -0.25] {
            let f = |x: f64| if x > 0.0 { x } else { slope * x };
            check(LeakyReluAnySlope { slope: slope as f32 }, LeakyReluAnySlope { slope }, f, 0.0, 1.0);
        }
        check(LeakyRelu { slope: 0.25 }, LeakyRelu { slope: 0.25 }, |x| if x > 0.0 { x } else { 0.25 * x }, 0.0, 1.0);
        check(Elu { alpha: 0.5 }, Elu { alpha: 0.5 }, |x| elu(x, 0.5), 0.0, 2.0);
        check(EluAnyAlpha { alpha: -0.5 }, EluAnyAlpha { alpha: -0.5 }, |x| elu(x, -0.5), 0.0, 2.0);
        check(Selu, Selu, |x| 1.050_700_987_355_480_5 * elu(x, 1.673_263_242_354_377_2), 0.0, 2.0);
        check(GeluErf, GeluErf, |x| x * 0.5 * libm::erfc(-x / 2.0_f64.sqrt()), 0.0, 2.0);
        let gelu_tanh =
            |x: f64| 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh());
        check(GeluTanh, GeluTanh, gelu_tanh, 0.0, 2.0);
        check(Silu, Silu, |x| x * sigmoid(x), 0.0, 2.0);
        check(Hardswish, Hardswish, |x| x * (x + 3.0).clamp(0.0, 6.0) / 6.0, 0.0, 2.0);
        check(Mish, Mish, |x| x * x.exp().ln_1p().tanh(), 0.0, 2.0);
        check(Sigmoid, Sigmoid, sigmoid, 0.0, 3.0);
        check(Tanh, Tanh, f64::tanh, 0.0, 2.0);
        // A threshold low enough to be crossed, where the function jumps.
        let softplus = |x: f64| if 2.0 * x > 3.0 { x } else { (2.0 * x).exp().ln_1p() / 2.0 };
        check(Softplus { beta: 2.0, threshold: 3.0 }, Softplus { beta: 2.0, threshold: 3.0 }, softplus, 0.0, 1.0);
        check(Hardtanh { min: -1.5, max: 0.75 }, Hardtanh { min: -1.5, max: 0.75 }, |x| x.clamp(-1.5, 0.75), 0.0, 1.0);
    }

    #[test]
    fn kinks_are_those_of_pytorch() {
        let grad = |op: Activation, x: f64| {
            let (mut y, mut out) = ([0.0], [0.0]);
            op.forward(&[x], &mut y);
            op.backward(&[1.0], &[x], &y, &mut out);
            out[0]
        };
        assert_eq!([grad(Activation::Relu, 0.0), grad(Activation::Relu, -0.0), grad(Activation::Relu6, 6.0)], [0.0; 3]);
        assert_eq!(grad(Activation::LeakyRelu { negative_slope: 0.25 }, 0.0), 0.25);
        assert_eq!(grad(Activation::Elu { alpha: 0.5 }, 0.0), 0.5);
        let hardtanh = Activation::Hardtanh { min_val: -1.0, max_val: 2.0 };
        assert_eq!([grad(hardtanh, -1.0), grad(hardtanh, 1.0), grad(hardtanh, 2.0)], [0.0, 1.0, 0.0]);
        assert_eq!(grad(Activation::Softplus { beta: 1.0, threshold: 0.0 }, 0.0), 0.5);
        let mut x = [f32::NAN];
        Activation::Relu.forward_in_place(&mut x);
        assert!(x[0].is_nan());
        let mut grad = [f32::INFINITY];
        Activation::Relu.backward_in_place(&mut grad, &[], &[0.0]);
        assert_eq!(grad, [0.0]);
    }

    #[test]
    fn a_choice_at_run_time_runs_its_function() {
        let x = random::<f32>(100, 12);
        let grad = random::<f32>(100, 13);
        let cases = [
            (Activation::Relu, "relu", false, true),
            (Activation::LeakyRelu { negative_slope: 0.25 }, "leaky_relu", false, true),
            (Activation::LeakyRelu { negative_slope: -0.25 }, "leaky_relu", true, false),
            (Activation::Elu { alpha: 0.5 }, "elu", false, true),
            (Activation::Elu { alpha: -0.5 }, "elu", true, false),
            (Activation::Selu, "selu", false, true),
            (Activation::GeluErf, "gelu", true, false),
            (Activation::GeluTanh, "gelu", true, false),
            (Activation::Silu, "silu", true, false),
            (Activation::Sigmoid, "sigmoid", false, true),
            (Activation::Tanh, "tanh", false, true),
            (Activation::Softplus { beta: 2.0, threshold: 3.0 }, "softplus", true, false),
            (Activation::Hardtanh { min_val: -0.5, max_val: 0.75 }, "hardtanh", false, true),
            (Activation::Relu6, "relu6", false, true),
        ];
        for (op, name, needs_input, needs_output) in cases {
            assert_eq!((op.name(), op.needs_input(), op.needs_output()), (name, needs_input, needs_output));
            let (mut y, mut expected) = (vec![0.0; 100], vec![0.0; 100]);
            op.forward(&x, &mut y);
            with_op!(op, f32, op => map(op, &x, &mut expected));
            assert_eq!(bits(&y), bits(&expected), "{name}");
            let mut in_place = x.clone();
            op.forward_in_place(&mut in_place);
            assert_eq!(bits(&in_place), bits(&y), "{name}");
            let (x, y) = (if needs_input { &x[..] } else { &[] }, if needs_output { &y[..] } else { &[] });
            let (mut out, mut in_place) = (vec![0.0; 100], grad.clone());
            op.backward(&grad, x, y, &mut out);
            op.backward_in_place(&mut in_place, x, y);
            assert_eq!(bits(&in_place), bits(&out), "{name}");
        }
    }
}
