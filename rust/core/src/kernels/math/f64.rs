//! Elementary functions of f64.

/// exp.
#[inline(always)]
pub fn exp(x: f64) -> f64 {
    libm::exp(x)
}

/// ln.
#[inline(always)]
pub fn ln(x: f64) -> f64 {
    libm::log(x)
}

/// ln_1p.
#[inline(always)]
pub fn ln_1p(x: f64) -> f64 {
    libm::log1p(x)
}

/// exp_m1.
#[inline(always)]
pub fn exp_m1(x: f64) -> f64 {
    libm::expm1(x)
}

/// tanh.
#[inline(always)]
pub fn tanh(x: f64) -> f64 {
    libm::tanh(x)
}

/// erf.
#[inline(always)]
pub fn erf(x: f64) -> f64 {
    libm::erf(x)
}

/// sin.
#[inline(always)]
pub fn sin(x: f64) -> f64 {
    libm::sin(x)
}

/// cos.
#[inline(always)]
pub fn cos(x: f64) -> f64 {
    libm::cos(x)
}

/// Logistic function.
#[inline(always)]
pub fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + exp(-x))
}

/// Power.
#[inline(always)]
pub fn pow(x: f64, y: f64) -> f64 {
    libm::pow(x, y)
}
