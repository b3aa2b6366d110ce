//! Elementary functions of f64, from the `libm` crate.
//!
//! In f64 gradients are checked rather than networks trained, so accuracy (`libm` is musl's code, mostly within 1 ulp)
//! matters more than speed: these do not vectorize. The bits are the same on every instruction set all the same: `libm` is
//! pure Rust, compiled once for the baseline target, and the compiler never contracts to fused multiply-adds.

/// eˣ.
#[inline(always)]
#[must_use]
pub fn exp(x: f64) -> f64 {
    libm::exp(x)
}

/// The natural logarithm.
#[inline(always)]
#[must_use]
pub fn ln(x: f64) -> f64 {
    libm::log(x)
}

/// `ln(1 + x)`, accurate near 0.
#[inline(always)]
#[must_use]
pub fn ln_1p(x: f64) -> f64 {
    libm::log1p(x)
}

/// eˣ − 1, accurate near 0.
#[inline(always)]
#[must_use]
pub fn exp_m1(x: f64) -> f64 {
    libm::expm1(x)
}

/// The hyperbolic tangent.
#[inline(always)]
#[must_use]
pub fn tanh(x: f64) -> f64 {
    libm::tanh(x)
}

/// The error function.
#[inline(always)]
#[must_use]
pub fn erf(x: f64) -> f64 {
    libm::erf(x)
}

/// The sine.
#[inline(always)]
#[must_use]
pub fn sin(x: f64) -> f64 {
    libm::sin(x)
}

/// The cosine.
#[inline(always)]
#[must_use]
pub fn cos(x: f64) -> f64 {
    libm::cos(x)
}

/// The logistic function `1 / (1 + e⁻ˣ)`: `e^min(x, 0) / (1 + e^−|x|)`, which never overflows and stays accurate where
/// the result is tiny.
#[inline(always)]
#[must_use]
pub fn sigmoid(x: f64) -> f64 {
    let e = exp(-x.abs());
    (if x < 0.0 { e } else { 1.0 }) / (1.0 + e)
}

/// x to the power y.
#[inline(always)]
#[must_use]
pub fn pow(x: f64, y: f64) -> f64 {
    libm::pow(x, y)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `1 / (1 + e⁻ˣ)` itself gives 0 from −710 on; and is off by 1e-16 absolutely, not relatively, if formed as 1 − σ(−x).
    #[test]
    fn sigmoid_keeps_its_tail() {
        assert!((sigmoid(-740.0) / exp(-740.0) - 1.0).abs() < 1e-12);
        assert!((sigmoid(-40.0) / exp(-40.0) - 1.0).abs() < 1e-15);
        assert_eq!([f64::NEG_INFINITY, 0.0, f64::INFINITY].map(sigmoid), [0.0, 0.5, 1.0]);
        assert!(sigmoid(f64::NAN).is_nan());
    }
}
