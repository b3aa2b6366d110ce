//! Tensors of known values.

use super::{Scalar, contiguous};
use crate::element::DType;
use crate::error::{Error, Result};
use crate::reserve;
use crate::tensor::{Tensor, layout::show, room};
use crate::with_element;

/// All elements `value`; of dtype float32, int64 or bool if none is named, after the kind of the value.
#[must_use]
pub fn full(shape: &[usize], value: impl Into<Scalar>, dtype: Option<DType>) -> Tensor {
    let value = value.into();
    with_element!(dtype.unwrap_or(value.dtype()), T => Tensor::filled(shape, value.element::<T>()))
}

/// All elements 1.
#[must_use]
pub fn ones(shape: &[usize], dtype: DType) -> Tensor {
    full(shape, 1, Some(dtype))
}

/// `start + i · step` for every i at which it is before `end`; int64 if all three are integers, else float32, unless a dtype
/// is named. Element i is computed from i, so that errors do not add up: of integers exactly, else in float64.
pub fn arange(
    start: impl Into<Scalar>,
    end: impl Into<Scalar>,
    step: impl Into<Scalar>,
    dtype: Option<DType>,
) -> Result<Tensor> {
    let (start, end, step) = (start.into(), end.into(), step.into());
    let (a, b, s) = (start.to_f64(), end.to_f64(), step.to_f64());
    if s == 0.0 || !(a.is_finite() && b.is_finite() && s.is_finite()) {
        return Err(Error::value(format!(
            "arange: expected finite bounds and a step that is not 0; got {start}, {end}, {step}"
        )));
    }
    let integers = start.whole().zip(end.whole()).zip(step.whole()).map(|((start, end), step)| [start, end, step]);
    let (against, n) = match integers.map(|all| all.map(i128::from)) {
        Some([a, b, s]) => {
            let n = (b - a).abs().unsigned_abs().div_ceil(s.unsigned_abs());
            ((b - a).signum() * s.signum() < 0, usize::try_from(n).unwrap_or(usize::MAX))
        }
        None => ((b - a) * s < 0.0, ((b - a) / s).ceil() as usize),
    };
    if against {
        return Err(Error::value(format!(
            "arange: expected bounds in the direction of the step; got {start}, {end}, {step}"
        )));
    }
    let dtype = dtype.unwrap_or(if integers.is_some() { DType::I64 } else { DType::F32 });
    room::check("arange", &[n], DType::I64)?;
    let value = |i: usize| match integers {
        // All numbers lie between the bounds, even if the product does not.
        Some([start, _, step]) => Scalar::Int(start.wrapping_add((i as i64).wrapping_mul(step))),
        None => Scalar::Float(a + i as f64 * s),
    };
    Ok(with_element!(dtype, T => {
        let values: Vec<T> = reserve::collected((0..n).map(|i| value(i).element()));
        Tensor::from_slice(&values, &[n])
    }))
}

/// `steps` numbers from `start` to `end`, both included, at equal distances; as int64 without their fractions, and exact if both
/// ends are integers.
#[must_use]
pub fn linspace(start: impl Into<Scalar>, end: impl Into<Scalar>, steps: usize, dtype: DType) -> Tensor {
    let (start, end) = (start.into(), end.into());
    if let (DType::I64, Some(start), Some(end)) = (dtype, start.whole(), end.whole()) {
        let (start, end, last) = (i128::from(start), i128::from(end), steps.saturating_sub(1).max(1) as i128);
        let values: Vec<i64> = (0..steps as i128).map(|i| ((start * last + i * (end - start)) / last) as i64).collect();
        return Tensor::from_slice(&values, &[steps]);
    }
    let (start, end) = (start.to_f64(), end.to_f64());
    let step = if steps > 1 { (end - start) / (steps - 1) as f64 } else { 0.0 };
    // From both ends, so that each is exact.
    let value =
        |i: usize| if i < steps.div_ceil(2) { start + i as f64 * step } else { end - (steps - 1 - i) as f64 * step };
    with_element!(dtype, T => {
        let values: Vec<T> = reserve::collected((0..steps).map(|i| Scalar::Float(value(i)).element()));
        Tensor::from_slice(&values, &[steps])
    })
}

/// The `n × m` matrix with 1 on the diagonal, else 0.
#[must_use]
pub fn eye(n: usize, m: usize, dtype: DType) -> Tensor {
    with_element!(dtype, T => {
        let mut values: Vec<T> = reserve::filled(n * m, T::default());
        for i in 0..n.min(m) {
            values[i * m + i] = Scalar::Int(1).element();
        }
        Tensor::from_slice(&values, &[n, m])
    })
}

/// The `n × classes` mask, as int64, whose row i is 1 at `labels[i]`; `classes` is one more than the greatest label if None.
pub fn one_hot(labels: &Tensor, classes: Option<usize>) -> Result<Tensor> {
    if labels.dtype() != DType::I64 {
        return Err(Error::dtype(format!("one_hot: expected labels of dtype int64; got {}", labels.dtype())));
    }
    crate::tensor::trace::read("one_hot()");
    let flat = contiguous(labels)?;
    let view = flat.view();
    let all = view.slice::<i64>();
    let classes = match classes {
        Some(classes) => classes,
        None if all.is_empty() => {
            let shape = show(labels.shape());
            return Err(Error::value(format!(
                "one_hot: expected num_classes for no labels; got labels of shape {shape}"
            )));
        }
        None => all.iter().fold(0, |most, &label| most.max(label.max(-1).wrapping_add(1) as u64 as usize)),
    };
    room::check("one_hot", &[all.len(), classes], DType::I64)?;
    let mut values = reserve::filled(all.len() * classes, 0_i64);
    for (i, &label) in all.iter().enumerate() {
        let class = usize::try_from(label).ok().filter(|&class| class < classes);
        let Some(class) = class else {
            return Err(Error::index(format!("one_hot: expected labels in [0, {classes}); got {label}")));
        };
        values[i * classes + class] = 1;
    }
    let shape: Vec<usize> = labels.shape().iter().copied().chain([classes]).collect();
    Ok(Tensor::from_slice(&values, &shape))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let values = |x: Result<Tensor>| x.unwrap().to_vec_f64();
        assert_eq!(values(arange(0, 5, 2, None)), [0.0, 2.0, 4.0]);
        assert_eq!(values(arange(5, 0, -2, None)), [5.0, 3.0, 1.0]);
        assert_eq!(arange(0, 5, 1, None).unwrap().dtype(), DType::I64);
        assert_eq!(arange(0, 1.0, 0.25, None).unwrap().dtype(), DType::F32);
        assert_eq!(values(arange(0.0, 1.0, 0.1, Some(DType::F64))).len(), 10);
        assert_eq!(arange(3, 3, 1, None).unwrap().shape(), [0]);
        let error = arange(0, 5, -1, None).unwrap_err();
        assert_eq!(error.message(), "arange: expected bounds in the direction of the step; got 0, 5, -1");
        assert_eq!(linspace(0.0, 1.0, 5, DType::F64).to_vec_f64(), [0.0, 0.25, 0.5, 0.75, 1.0]);
        assert_eq!(linspace(0.0, 0.3, 4, DType::F64).to_vec_f64()[3], 0.3);
        assert_eq!(linspace(2.0, 3.0, 1, DType::F64).to_vec_f64(), [2.0]);
    }

    #[test]
    fn constants() {
        assert_eq!(full(&[2], 1.5, None).dtype(), DType::F32);
        assert_eq!(full(&[2], i64::MAX, None).view().slice::<i64>(), [i64::MAX; 2]);
        assert_eq!(full(&[2], true, None).dtype(), DType::Bool);
        assert_eq!(eye(2, 3, DType::F32).to_vec_f64(), [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
        assert_eq!(ones(&[0, 2], DType::F64).shape(), [0, 2]);
    }

    #[test]
    fn one_hot_rows() {
        let y = one_hot(&Tensor::from_slice(&[2_i64, 0], &[2]), None).unwrap();
        assert_eq!((y.shape(), y.to_vec_f64()), (&[2, 3][..], vec![0.0, 0.0, 1.0, 1.0, 0.0, 0.0]));
        let error = one_hot(&Tensor::from_slice(&[3_i64], &[1]), Some(3)).unwrap_err();
        assert_eq!(error, Error::Index("one_hot: expected labels in [0, 3); got 3".into()));
    }
}
