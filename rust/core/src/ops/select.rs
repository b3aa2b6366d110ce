//! Choosing between values, element by element.
//!
//! ```text
//! where        y = a if the condition holds, else b    grad_a = g where it holds, else 0;    grad_b the other way round
//! maximum      y = the greater of a and b              grad goes to the greater; at a tie, half to each
//! minimum      y = the smaller of a and b              grad goes to the smaller; at a tie, half to each
//! masked_fill  y = a number where the mask is true, else x
//! clamp        y = x held to [min, max]                grad_x = g where min ≤ x ≤ max, else 0
//! ```
//! NaN wins in maximum and minimum, and stays in clamp.

use smallvec::smallvec;

use super::binary::{promoted, same_dtype};
use super::walk::{self, zip};
use super::{Grads, Op, Outputs, Run, Saves, Scalar, apply, cast, eq, gt, lt, mul_scalar, sum_to};
use crate::element::{DType, Float};
use crate::error::{Error, Result};
use crate::kernels::elementwise as kernels;
use crate::kernels::unary::{self, Clamp as ClampFloat};
use crate::tensor::layout::broadcast;
use crate::tensor::tape::Backward;
use crate::tensor::{Meta, Tensor, View};
use crate::{with_element, with_float};

#[derive(Clone, Copy, Debug)]
struct Where;

impl Op for Where {
    fn name(&self) -> &'static str {
        "where"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        if inputs[0].dtype != DType::Bool {
            return Err(Error::dtype(format!("where: expected a condition of dtype bool; got {}", inputs[0].dtype)));
        }
        let dtype = same_dtype("where", &inputs[1..])?;
        let values = broadcast("where", &inputs[1].shape, &inputs[2].shape)?;
        Ok(smallvec![Meta { shape: broadcast("where", &inputs[0].shape, &values)?, dtype }])
    }

    fn strided(&self) -> bool {
        true
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let y = &outputs[0];
        with_element!(y.dtype(), T => walk::select::<T>(run.team, &inputs[0], &inputs[1], &inputs[2], y));
    }

    fn saves(&self) -> Saves {
        Saves::inputs(1)
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let (g, condition) = (cx.grad(), cx.input(0));
        let zero = Tensor::zeros(&[], g.dtype());
        let a = cx.needs(1).then(|| sum_to(&where_(condition, g, &zero)?, &cx.input_meta[1].shape)).transpose()?;
        let b = cx.needs(2).then(|| sum_to(&where_(condition, &zero, g)?, &cx.input_meta[2].shape)).transpose()?;
        Ok(smallvec![None, a, b])
    }
}

/// `a` where the mask `condition` is true, else `b`; all three broadcast together.
pub fn where_(condition: &Tensor, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if a.dtype() == b.dtype() {
        return apply(Where, &[condition, a, b]);
    }
    let (a, b) = promoted(a, b)?;
    apply(Where, &[condition, &a, &b])
}

/// `value` where the mask is true, else `x`, whose dtype is kept.
pub fn masked_fill(x: &Tensor, mask: &Tensor, value: impl Into<Scalar>) -> Result<Tensor> {
    let value = value.into();
    if mask.dtype() != DType::Bool {
        return Err(Error::dtype(format!("masked_fill: expected a mask of dtype bool; got {}", mask.dtype())));
    }
    if value.promote(x.dtype()) != x.dtype() {
        return Err(Error::dtype(format!("masked_fill: expected a value that {} can hold; got {value:?}", x.dtype())));
    }
    if broadcast("masked_fill", x.shape(), mask.shape())?.as_slice() != x.shape() {
        let (x, mask) = (crate::tensor::layout::show(x.shape()), crate::tensor::layout::show(mask.shape()));
        return Err(Error::value(format!("masked_fill: expected a mask that broadcasts to {x}; got {mask}")));
    }
    where_(mask, &value.tensor(x.dtype()), x)
}

/// The greater of two, or the smaller.
#[derive(Clone, Copy, Debug)]
struct Extreme {
    greater: bool,
}

impl Op for Extreme {
    fn name(&self) -> &'static str {
        if self.greater { "maximum" } else { "minimum" }
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let dtype = same_dtype(self.name(), inputs)?;
        Ok(smallvec![Meta { shape: broadcast(self.name(), &inputs[0].shape, &inputs[1].shape)?, dtype }])
    }

    fn strided(&self) -> bool {
        true
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let (a, b, y) = (&inputs[0], &inputs[1], &outputs[0]);
        with_element!(y.dtype(), T => if self.greater {
            zip::<T, _>(run.team, kernels::Maximum, a, b, y);
        } else {
            zip::<T, _>(run.team, kernels::Minimum, a, b, y);
        });
    }

    fn saves(&self) -> Saves {
        Saves::inputs(0b11)
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let (g, a, b) = (cx.grad(), cx.input(0), cx.input(1));
        let shared = where_(&eq(a, b)?, &mul_scalar(g, 0.5)?, g)?;
        // With a NaN, neither loses, and both get the whole gradient, as in PyTorch.
        let (a_loses, b_loses) = if self.greater { (lt(a, b)?, gt(a, b)?) } else { (gt(a, b)?, lt(a, b)?) };
        let part = |i: usize, loses: &Tensor| {
            cx.needs(i).then(|| sum_to(&masked_fill(&shared, loses, 0)?, &cx.input_meta[i].shape)).transpose()
        };
        Ok(smallvec![part(0, &a_loses)?, part(1, &b_loses)?])
    }
}

fn extreme(greater: bool, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (a, b) = promoted(a, b)?;
    apply(Extreme { greater }, &[&a, &b])
}

/// The greater of a and b; NaN if either is.
pub fn maximum(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    extreme(true, a, b)
}

/// The smaller of a and b; NaN if either is.
pub fn minimum(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    extreme(false, a, b)
}

/// The greater of x and a number, whose gradient at a tie is half, as if the number were a tensor.
pub fn maximum_scalar(x: &Tensor, s: impl Into<Scalar>) -> Result<Tensor> {
    let s = s.into();
    maximum(x, &s.tensor(s.promote(x.dtype())))
}

/// The smaller of x and a number, whose gradient at a tie is half, as if the number were a tensor.
pub fn minimum_scalar(x: &Tensor, s: impl Into<Scalar>) -> Result<Tensor> {
    let s = s.into();
    minimum(x, &s.tensor(s.promote(x.dtype())))
}

/// x held to bounds, or the gradient of the inputs (g, x).
#[derive(Clone, Copy, Debug)]
struct Clamp {
    min: Option<Scalar>,
    max: Option<Scalar>,
    gradient: bool,
}

/// The bounds as floats, an infinite one in place of none.
pub(super) fn clamp_bounds<T: Float>(min: Option<Scalar>, max: Option<Scalar>) -> ClampFloat<T> {
    ClampFloat {
        min: min.map_or(T::NEG_INFINITY, |s| T::from_f64(s.to_f64())),
        max: max.map_or(-T::NEG_INFINITY, |s| T::from_f64(s.to_f64())),
    }
}

impl Op for Clamp {
    fn name(&self) -> &'static str {
        if self.gradient { "clamp_backward" } else { "clamp" }
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        Ok(smallvec![inputs[0].clone()])
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let share = run.team.share(outputs[0].numel());
        with_float!(outputs[0].dtype(), T => {
            let f = clamp_bounds::<T>(self.min, self.max);
            // SAFETY: shares of a team do not overlap.
            let y = unsafe { outputs[0].part::<T>(share.clone()) };
            let first = &inputs[0].slice::<T>()[share.clone()];
            if self.gradient {
                unary::map_grad(f, first, &inputs[1].slice::<T>()[share], &[], y);
            } else {
                unary::map(f, first, y);
            }
        });
    }

    fn saves(&self) -> Saves {
        if self.gradient { Saves::ALL } else { Saves::inputs(1) }
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        if self.gradient {
            return Ok(smallvec![Some(apply(*self, &[cx.grad(), &cx.input(1).detach()])?), None]);
        }
        Ok(smallvec![Some(apply(Self { gradient: true, ..*self }, &[cx.grad(), cx.input(0)])?)])
    }
}

/// x held to `[min, max]`, where a bound may be missing; if `min` is above `max`, all becomes `max`. An integer tensor
/// with a float bound becomes float32.
pub fn clamp(x: &Tensor, min: Option<Scalar>, max: Option<Scalar>) -> Result<Tensor> {
    if min.is_none() && max.is_none() {
        return Err(Error::value("clamp: expected min or max; got neither"));
    }
    let dtype = [min, max].into_iter().flatten().fold(x.dtype(), |dtype, s| s.promote(dtype));
    let x = cast(x, dtype)?;
    if dtype.is_float() {
        if let Some(nan) = [min, max].into_iter().flatten().find(|s| s.to_f64().is_nan()) {
            return Ok(Tensor::full(x.shape(), nan.to_f64(), dtype));
        }
        return apply(Clamp { min, max, gradient: false }, &[&x]);
    }
    let low = min.map_or(Ok(x.clone()), |s| maximum_scalar(&x, s))?;
    max.map_or(Ok(low.clone()), |s| minimum_scalar(&low, s))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::gradcheck::{gradcheck, uniform};
    use crate::ops::{expand, permute};
    use crate::tensor::tape::backward;

    fn grads(f: impl Fn(&Tensor, &Tensor) -> Result<Tensor>, a: &[f64], b: &[f64]) -> [Vec<f64>; 2] {
        let [a, b] = [a, b].map(|x| {
            let x = Tensor::from_slice(x, &[x.len()]);
            x.set_requires_grad(true).unwrap();
            x
        });
        let y = f(&a, &b).unwrap();
        backward(&y, Some(&Tensor::full(y.shape(), 1.0, y.dtype())), false).unwrap();
        [a, b].map(|x| x.grad().unwrap().to_vec_f64())
    }

    #[test]
    fn where_chooses_and_broadcasts() {
        let mask = Tensor::from_slice(&[1_u8, 0, 0], &[3, 1]);
        let (a, b) = (uniform(&[3, 17], 1), permute(&uniform(&[17, 1], 2), &[1, 0]).unwrap());
        let wide = expand(&b, &[3, 17]).unwrap().to_vec_f64();
        let expected: Vec<f64> = a.to_vec_f64()[..17].iter().chain(&wide[17..]).copied().collect();
        assert_eq!(where_(&mask, &a, &b).unwrap().to_vec_f64(), expected);
        gradcheck(|x| where_(&mask, &x[0], &x[1]), &[a, b]);
        let flat = Tensor::from_slice(&[1_u8, 0, 1], &[3]);
        gradcheck(|x| where_(&flat, &x[0], &x[1]), &[uniform(&[3], 3), uniform(&[3], 4)]);
    }

    #[test]
    fn where_promotes_its_values_and_refuses_a_condition_of_numbers() {
        let mask = Tensor::from_slice(&[1_u8, 0], &[2]);
        let y = where_(&mask, &Tensor::full(&[2], 3.0, DType::I64), &Tensor::full(&[], 0.5, DType::F32)).unwrap();
        assert_eq!((y.dtype(), y.to_vec_f64()), (DType::F32, vec![3.0, 0.5]));
        let error = where_(&y, &y, &y).unwrap_err();
        assert_eq!(error, Error::Type("where: expected a condition of dtype bool; got float32".into()));
    }

    #[test]
    fn masked_fill_keeps_shape_and_dtype() {
        let mask = Tensor::from_slice(&[1_u8, 0, 1], &[3]);
        let x = uniform(&[2, 3], 1);
        let y = masked_fill(&x, &mask, f64::NEG_INFINITY).unwrap().to_vec_f64();
        assert_eq!((y[0], y[1], y[5]), (f64::NEG_INFINITY, x.to_vec_f64()[1], f64::NEG_INFINITY));
        gradcheck(|x| masked_fill(&x[0], &mask, 3), &[x]);
        let error = masked_fill(&uniform(&[2], 1), &mask, 0).unwrap_err();
        assert_eq!(error.message(), "masked_fill: expected shapes that broadcast together; got (2,) and (3,)");
        let error = masked_fill(&uniform(&[], 1), &mask, 0).unwrap_err();
        assert_eq!(error.message(), "masked_fill: expected a mask that broadcasts to (); got (3,)");
    }

    #[test]
    fn extremes_share_the_gradient_at_ties() {
        let (a, b) = ([1.0, 2.0, 5.0, f64::NAN], [3.0, 2.0, 4.0, 1.0]);
        assert_eq!(grads(maximum, &a, &b), [vec![0.0, 0.5, 1.0, 1.0], vec![1.0, 0.5, 0.0, 1.0]]);
        assert_eq!(grads(minimum, &a, &b), [vec![1.0, 0.5, 0.0, 1.0], vec![0.0, 0.5, 1.0, 1.0]]);
        let y = maximum(&Tensor::from_slice(&a, &[4]), &Tensor::from_slice(&b, &[4])).unwrap().to_vec_f64();
        assert!(y[..3] == [3.0, 2.0, 5.0] && y[3].is_nan());
        for shapes in [[vec![3, 5], vec![5]], [vec![], vec![4]], [vec![0], vec![1]]] {
            let inputs = [uniform(&shapes[0], 1), uniform(&shapes[1], 2)];
            gradcheck(|x| maximum(&x[0], &x[1]), &inputs);
            gradcheck(|x| minimum(&x[0], &x[1]), &inputs);
        }
        gradcheck(|x| maximum_scalar(&minimum_scalar(&x[0], 1.0)?, -1), &[uniform(&[33], 5)]);
    }

    #[test]
    fn clamp_passes_the_gradient_at_its_bounds() {
        let x = Tensor::from_slice(&[-2.0, -1.0, 0.5, 1.0, 3.0, f64::NAN], &[6]);
        x.set_requires_grad(true).unwrap();
        let y = clamp(&x, Some((-1).into()), Some(1.0.into())).unwrap();
        assert_eq!(y.to_vec_f64()[..5], [-1.0, -1.0, 0.5, 1.0, 1.0]);
        assert!(y.to_vec_f64()[5].is_nan());
        backward(&y, Some(&Tensor::full(&[6], 1.0, DType::F64)), false).unwrap();
        assert_eq!(x.grad().unwrap().to_vec_f64(), [0.0, 1.0, 1.0, 1.0, 0.0, 0.0]);
        gradcheck(|x| clamp(&x[0], None, Some(0.3.into())), &[uniform(&[3, 11], 1)]);
        let x = Tensor::from_slice(&[-5_i64, 5], &[2]);
        assert_eq!(clamp(&x, Some(0.into()), Some(3.into())).unwrap().view().slice::<i64>(), [0, 3]);
        assert_eq!(clamp(&x, Some(7.into()), Some(3.into())).unwrap().view().slice::<i64>(), [3, 3]);
        assert_eq!(clamp(&x, None, None).unwrap_err().message(), "clamp: expected min or max; got neither");
    }
}
