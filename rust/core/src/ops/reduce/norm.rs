//! Norms, of which the gradient is finite at 0 as well.
//!
//! ```text
//! ‖x‖_p = (Σ |x|ᵖ)^(1/p)        grad_x = g · sign(x) · (|x| / ‖x‖)^(p−1), 0 where ‖x‖ is 0 and, for p < 1, where x is
//! ‖x‖_0 = how many are not 0    grad_x = 0
//! ‖x‖_∞ = max |x|, ‖x‖_−∞ = min |x|; ties share the gradient evenly
//! ```

use super::dims::reduced;
use super::{amax, amin, sum};
use crate::element::DType;
use crate::error::{Error, Result};
use crate::ops::{
    abs, add, cast, eq_scalar, float_dtype, masked_fill, mul_scalar, ne_scalar, pow_scalar, sign, sqrt, square,
};
use crate::tensor::{Tensor, layout, tape};

/// Apply `f`, whose derivative may be infinite at 0, with the value `at_zero` and no gradient there. The masks are only made where
/// a gradient may be asked for.
fn flat_at_zero(x: &Tensor, at_zero: f64, f: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    if !(tape::is_grad_enabled() && x.requires_grad()) {
        return f(x);
    }
    let zero = eq_scalar(x, 0)?;
    masked_fill(&f(&masked_fill(x, &zero, 1.0)?)?, &zero, at_zero)
}

/// 0 to this power.
fn power_of_zero(exponent: f64) -> f64 {
    if exponent > 0.0 { 0.0 } else { f64::INFINITY }
}

/// Number of elements that are not 0, with a gradient of 0.
fn count(x: &Tensor, dims: Option<&[i64]>, keepdim: bool) -> Result<Tensor> {
    let count = sum(&cast(&ne_scalar(x, 0)?, x.dtype())?, dims, keepdim)?;
    if !(tape::is_grad_enabled() && x.requires_grad()) {
        return Ok(count);
    }
    add(&count, &sum(&mul_scalar(&sign(x)?, 0.0)?, dims, keepdim)?)
}

/// The reductions without an identity need an element.
fn check_not_empty(x: &Tensor, p: f64, dims: Option<&[i64]>) -> Result<()> {
    let flags = reduced("norm", x, dims)?;
    if (p < 0.0 || p == f64::INFINITY) && x.shape().iter().zip(&flags).any(|(&n, &gone)| gone && n == 0) {
        let shape = layout::show(x.shape());
        return Err(Error::value(format!("norm: expected an element to take the {p}-norm of; got shape {shape}")));
    }
    Ok(())
}

/// The p-norm over the dimensions `dims`, all if None, for any p but NaN.
pub fn norm(x: &Tensor, p: f64, dims: Option<&[i64]>, keepdim: bool) -> Result<Tensor> {
    float_dtype("norm", &[x.meta()])?;
    if p.is_nan() {
        return Err(Error::value("norm: expected a number p; got nan"));
    }
    check_not_empty(x, p, dims)?;
    if p == f64::INFINITY {
        return amax(&abs(x)?, dims, keepdim);
    }
    if p == f64::NEG_INFINITY {
        return amin(&abs(x)?, dims, keepdim);
    }
    if p == 0.0 {
        return count(x, dims, keepdim);
    }
    if p == 1.0 {
        return sum(&abs(x)?, dims, keepdim);
    }
    if p == 2.0 {
        return flat_at_zero(&sum(&square(x)?, dims, keepdim)?, 0.0, sqrt);
    }
    let size = abs(x)?;
    // Below 2, the second derivative of a power is infinite at 0, and below 1 the first one.
    let powers =
        if p < 2.0 { flat_at_zero(&size, power_of_zero(p), |x| pow_scalar(x, p))? } else { pow_scalar(&size, p)? };
    flat_at_zero(&sum(&powers, dims, keepdim)?, power_of_zero(1.0 / p), |x| pow_scalar(x, 1.0 / p))
}

/// The dtype in which a norm is asked for: that of x, or one that holds all of its numbers.
pub fn norm_dtype(x: &Tensor, dtype: Option<DType>) -> Result<DType> {
    let own = float_dtype("norm", &[x.meta()])?;
    match dtype {
        None => Ok(own),
        Some(wanted) if wanted.is_float() && wanted.size() >= own.size() => Ok(wanted),
        Some(wanted) => Err(Error::dtype(format!("norm: expected a dtype that holds {own}; got {wanted}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::gradcheck::{between, gradcheck};
    use crate::tensor::tape::backward;

    const P: [f64; 11] = [f64::NEG_INFINITY, -2.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, f64::INFINITY];

    fn textbook(x: &[f64], p: f64) -> f64 {
        let sizes = || x.iter().map(|x| x.abs());
        match p {
            0.0 => x.iter().filter(|&&x| x != 0.0).count() as f64,
            f64::INFINITY => sizes().fold(0.0, f64::max),
            f64::NEG_INFINITY => sizes().fold(f64::INFINITY, f64::min),
            p => sizes().map(|x| x.powf(p)).sum::<f64>().powf(1.0 / p),
        }
    }

    #[test]
    fn values_and_gradients_of_rows_with_and_without_zeros() {
        for p in P {
            let rows = [[0.0, 0.0, 0.0], [0.0, -3.0, 4.0], [1.0, -1.5, 2.0]];
            let x = Tensor::from_slice(rows.as_flattened(), &[3, 3]);
            x.set_requires_grad(true).unwrap();
            let y = norm(&x, p, Some(&[1]), false).unwrap();
            let expected = rows.map(|row| textbook(&row, p));
            crate::kernels::testing::assert_close(&y.to_vec_f64(), &expected, 1e-12);
            backward(&y, Some(&Tensor::full(&[3], 1.0, DType::F64)), false).unwrap();
            let grad = x.grad().unwrap().to_vec_f64();
            assert!(grad.iter().all(|g| g.is_finite()) && grad[..3] == [0.0; 3], "{p}: {grad:?}");
            let away = between(0.5, 2.0, &[2, 3], 1);
            gradcheck(|x| norm(&x[0], p, Some(&[0]), true), std::slice::from_ref(&away));
        }
    }

    #[test]
    fn what_has_no_norm_is_refused() {
        let empty = Tensor::zeros(&[2, 0], DType::F32);
        let error = norm(&empty, f64::INFINITY, Some(&[1]), false).unwrap_err();
        assert_eq!(error.message(), "norm: expected an element to take the inf-norm of; got shape (2, 0)");
        assert_eq!(norm(&empty, 2.0, Some(&[1]), false).unwrap().to_vec_f64(), [0.0; 2]);
        assert!(norm(&empty, -1.0, Some(&[0]), false).unwrap().to_vec_f64().is_empty());
        assert_eq!(norm(&empty, f64::NAN, None, false).unwrap_err().message(), "norm: expected a number p; got nan");
        let labels = Tensor::zeros(&[2], DType::I64);
        assert!(matches!(norm(&labels, 2.0, None, false), Err(Error::Type(_))));
        assert!(norm_dtype(&Tensor::zeros(&[1], DType::F64), Some(DType::F32)).is_err());
    }
}
