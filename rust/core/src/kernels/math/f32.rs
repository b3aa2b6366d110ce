//! Elementary functions of f32.

/// exp.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    libm::expf(x)
}

/// ln.
#[inline(always)]
pub fn ln(x: f32) -> f32 {
    libm::logf(x)
}

/// ln_1p.
#[inline(always)]
pub fn ln_1p(x: f32) -> f32 {
    libm::log1pf(x)
}

/// exp_m1.
#[inline(always)]
pub fn exp_m1(x: f32) -> f32 {
    libm::expm1f(x)
}

/// tanh.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    libm::tanhf(x)
}

/// erf.
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    libm::erff(x)
}

/// sin.
#[inline(always)]
pub fn sin(x: f32) -> f32 {
    libm::sinf(x)
}

/// cos.
#[inline(always)]
pub fn cos(x: f32) -> f32 {
    libm::cosf(x)
}

/// Logistic function.
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Power.
#[inline(always)]
pub fn pow(x: f32, y: f32) -> f32 {
    libm::powf(x, y)
}
