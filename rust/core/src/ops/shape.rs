//! Other shapes for the same elements. All are views: no element is moved, unless [`reshape`] needs it.
//!
//! ```text
//! grad_x = g in the shape of x; of expand, summed over the dimensions that were stretched
//! ```

use smallvec::{SmallVec, smallvec};

use super::walk::map;
use super::{Grads, Op, Outputs, Run, apply, contiguous, sum_to};
use crate::error::{Error, Result};
use crate::kernels::elementwise::To;
use crate::tensor::layout::{dim_index, show};
use crate::tensor::tape::Backward;
use crate::tensor::{Dims, Layout, Meta, Tensor, View};
use crate::with_element;

/// The input as `to` sees it.
#[derive(Clone, Debug)]
enum Reshaped {
    /// Another shape of the same elements in row-major order.
    Reshape(Dims),
    /// Dimensions in this order.
    Permute(Dims),
    /// Dimensions stretched to this shape.
    Expand(Dims),
}

impl Reshaped {
    fn shape(&self, input: &[usize]) -> Dims {
        match self {
            Self::Reshape(shape) | Self::Expand(shape) => shape.clone(),
            Self::Permute(order) => order.iter().map(|&d| input[d]).collect(),
        }
    }
}

impl Op for Reshaped {
    fn name(&self) -> &'static str {
        match self {
            Self::Reshape(_) => "reshape",
            Self::Permute(_) => "permute",
            Self::Expand(_) => "expand",
        }
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        Ok(smallvec![Meta { shape: self.shape(&inputs[0].shape), dtype: inputs[0].dtype }])
    }

    fn view(&self, input: &Layout) -> Option<Layout> {
        match self {
            Self::Reshape(shape) => input.reshape(shape),
            Self::Permute(order) => Some(input.permute(order)),
            Self::Expand(shape) => Some(input.expand(shape)),
        }
    }

    /// For a reshape of strides that allow no view.
    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let (x, y) = (&inputs[0], &outputs[0]);
        let layout = self.view(x.layout()).expect("the input is contiguous");
        with_element!(y.dtype(), T => {
            // SAFETY: the same elements in another shape, from the same first one.
            let x = unsafe { View::new(x.ptr::<T>().cast(), &layout, x.dtype()) };
            map::<T, _>(run.team, To(T::default()), &x, y);
        });
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let (g, shape) = (cx.grad(), &cx.input_meta[0].shape);
        let grad = match self {
            Self::Reshape(_) => reshape_to(g, shape)?,
            Self::Permute(order) => {
                let mut inverse: Dims = SmallVec::from_elem(0, order.len());
                for (i, &d) in order.iter().enumerate() {
                    inverse[d] = i;
                }
                apply(Self::Permute(inverse), &[g])?
            }
            Self::Expand(_) => sum_to(g, shape)?,
        };
        Ok(smallvec![Some(grad)])
    }

    fn work(&self, _inputs: &[Meta], _outputs: &[Meta]) -> usize {
        0
    }
}

/// The sizes that `shape` asks for, in which one −1 stands for what is left.
fn resolve(op: &str, x: &Tensor, shape: &[i64]) -> Result<Dims> {
    let asked = || format!("({}{})", join(shape), if shape.len() == 1 { "," } else { "" });
    let misfit = || {
        let got = asked();
        Error::value(format!("{op}: expected a shape of the {} elements of {}; got {got}", x.numel(), show(x.shape())))
    };
    if shape.iter().any(|&n| n < -1) || shape.iter().filter(|&&n| n == -1).count() > 1 {
        return Err(Error::value(format!("{op}: expected sizes of at least 0, and at most one -1; got {}", asked())));
    }
    let known = shape.iter().filter(|&&n| n != -1).try_fold(1_usize, |all, &n| all.checked_mul(n as usize));
    let known = known.ok_or_else(misfit)?;
    let rest = if !shape.contains(&-1) {
        (known == x.numel()).then_some(0)
    } else if known == 0 {
        None
    } else {
        x.numel().is_multiple_of(known).then_some(x.numel() / known)
    };
    let rest = rest.ok_or_else(misfit)?;
    Ok(shape.iter().map(|&n| if n == -1 { rest } else { n as usize }).collect())
}

fn join(shape: &[i64]) -> String {
    shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// `x` itself as the result of an op: the same memory, but a place of its own on the tape.
pub fn alias(x: &Tensor) -> Result<Tensor> {
    apply(Reshaped::Expand(Dims::from_slice(x.shape())), &[x])
}

/// `x` in a shape that is known to fit.
pub(crate) fn reshape_to(x: &Tensor, shape: &[usize]) -> Result<Tensor> {
    if x.shape() == shape {
        return Ok(x.clone());
    }
    let op = Reshaped::Reshape(Dims::from_slice(shape));
    if x.layout().reshape(shape).is_some() { apply(op, &[x]) } else { apply(op, &[&contiguous(x)?]) }
}

/// The elements in row-major order in another shape, in which one −1 stands for what is left: a view if the strides
/// allow, else a copy.
pub fn reshape(x: &Tensor, shape: &[i64]) -> Result<Tensor> {
    let shape = resolve("reshape", x, shape)?;
    reshape_to(x, &shape)
}

/// As [`reshape`], but never a copy.
pub fn view(x: &Tensor, shape: &[i64]) -> Result<Tensor> {
    let shape = resolve("view", x, shape)?;
    if x.layout().reshape(&shape).is_none() {
        return Err(Error::value(format!(
            "view: expected a shape that keeps together the dimensions of {} that lie together in memory (use reshape()); got {}",
            show(x.shape()),
            show(&shape)
        )));
    }
    reshape_to(x, &shape)
}

/// Dimensions `start` to `end`, both included, as one. Of a tensor without dimensions, one of size 1.
pub fn flatten(x: &Tensor, start: i64, end: i64) -> Result<Tensor> {
    let (start, end) = (dim_index("flatten", start, x.ndim())?, dim_index("flatten", end, x.ndim())?);
    if start > end {
        return Err(Error::value(format!("flatten: expected start_dim not after end_dim; got {start} and {end}")));
    }
    if x.ndim() == 0 {
        return reshape_to(x, &[1]);
    }
    let mut shape = Dims::from_slice(&x.shape()[..start]);
    shape.push(x.shape()[start..=end].iter().product());
    shape.extend_from_slice(&x.shape()[end + 1..]);
    reshape_to(x, &shape)
}

/// Without the dimensions of size 1 among `dims`; without any of size 1 if `dims` is None.
pub fn squeeze(x: &Tensor, dims: Option<&[i64]>) -> Result<Tensor> {
    let asked: Option<Vec<usize>> =
        dims.map(|dims| dims.iter().map(|&d| dim_index("squeeze", d, x.ndim())).collect()).transpose()?;
    let goes = |d: usize| asked.as_ref().is_none_or(|asked| asked.contains(&d));
    let shape: Dims = x.shape().iter().enumerate().filter(|&(d, &n)| n != 1 || !goes(d)).map(|(_, &n)| n).collect();
    reshape_to(x, &shape)
}

/// With a dimension of size 1 at place `dim`, in `[-n - 1, n]` for n dimensions.
pub fn unsqueeze(x: &Tensor, dim: i64) -> Result<Tensor> {
    let dim = dim_index("unsqueeze", dim, x.ndim() + 1)?;
    let mut shape = Dims::from_slice(x.shape());
    shape.insert(dim, 1);
    reshape_to(x, &shape)
}

/// Dimensions in another order: dimension i of the result is dimension `order[i]` of x.
pub fn permute(x: &Tensor, order: &[i64]) -> Result<Tensor> {
    let places: Dims = order.iter().map(|&d| dim_index("permute", d, x.ndim())).collect::<Result<_>>()?;
    let mut seen = places.clone();
    seen.sort_unstable();
    if !seen.iter().copied().eq(0..x.ndim()) {
        return Err(Error::value(format!(
            "permute: expected every dimension of {} once; got ({})",
            show(x.shape()),
            join(order)
        )));
    }
    apply(Reshaped::Permute(places), &[x])
}

/// With two dimensions exchanged.
pub fn transpose(x: &Tensor, a: i64, b: i64) -> Result<Tensor> {
    let (a, b) = (dim_index("transpose", a, x.ndim())?, dim_index("transpose", b, x.ndim())?);
    let mut order: Dims = (0..x.ndim()).collect();
    if x.ndim() > 0 {
        order.swap(a, b);
    }
    apply(Reshaped::Permute(order), &[x])
}

/// The matrix transposed; a vector or number as it is.
pub fn t(x: &Tensor) -> Result<Tensor> {
    match x.ndim() {
        0 | 1 => alias(x),
        2 => transpose(x, 0, 1),
        _ => Err(super::shape_error("t", "a tensor of at most 2 dimensions", x.shape())),
    }
}

/// Dimensions of size 1 stretched to the sizes of `shape`, where −1 keeps a size; new dimensions stand in front.
pub fn expand(x: &Tensor, shape: &[usize]) -> Result<Tensor> {
    let shape: SmallVec<[i64; 4]> = shape.iter().map(|&n| n as i64).collect();
    expand_as_asked("expand", x, &shape)
}

/// [`expand`], where −1 keeps a size.
pub fn expand_keeping(x: &Tensor, shape: &[i64]) -> Result<Tensor> {
    expand_as_asked("expand", x, shape)
}

fn expand_as_asked(op: &str, x: &Tensor, asked: &[i64]) -> Result<Tensor> {
    let misfit = || {
        Error::value(format!(
            "{op}: expected a shape that {} broadcasts to; got ({}{})",
            show(x.shape()),
            join(asked),
            if asked.len() == 1 { "," } else { "" }
        ))
    };
    let new = asked.len().checked_sub(x.ndim()).ok_or_else(misfit)?;
    let fit = asked.iter().enumerate().map(|(d, &n)| match (d.checked_sub(new).map(|d| x.shape()[d]), n) {
        (Some(size), -1) => Ok(size),
        (Some(size), n) if n >= 0 && (size == n as usize || size == 1) => Ok(n as usize),
        (None, n) if n >= 0 => Ok(n as usize),
        _ => Err(misfit()),
    });
    let shape: Dims = fit.collect::<Result<_>>()?;
    if shape.as_slice() == x.shape() { Ok(x.clone()) } else { apply(Reshaped::Expand(shape), &[x]) }
}

/// [`expand`], `NumPy`'s name for it.
pub fn broadcast_to(x: &Tensor, shape: &[usize]) -> Result<Tensor> {
    let shape: SmallVec<[i64; 4]> = shape.iter().map(|&n| n as i64).collect();
    expand_as_asked("broadcast_to", x, &shape)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::gradcheck::{gradcheck, uniform};

    #[test]
    fn reshape_is_a_view_where_it_can_be() {
        let x = uniform(&[2, 3, 4], 1);
        let y = reshape(&x, &[4, -1]).unwrap();
        assert_eq!((y.shape(), y.is_view()), (&[4, 6][..], true));
        assert_eq!(y.to_vec_f64(), x.to_vec_f64());
        let turned = permute(&x, &[2, 0, 1]).unwrap();
        assert!(std::sync::Arc::ptr_eq(view(&turned, &[4, 6]).unwrap().storage(), x.storage()));
        let copied = reshape(&turned, &[8, 3]).unwrap();
        assert!(!std::sync::Arc::ptr_eq(copied.storage(), x.storage()));
        assert_eq!(copied.to_vec_f64(), turned.to_vec_f64());
        assert_eq!(reshape(&uniform(&[0, 3], 1), &[3, 0]).unwrap().shape(), [3, 0]);
        assert_eq!(reshape(&uniform(&[1], 1), &[]).unwrap().shape(), [0_usize; 0]);
    }

    #[test]
    fn shapes_that_do_not_fit_are_named() {
        let x = uniform(&[2, 3], 1);
        let message = |result: Result<Tensor>| result.unwrap_err().message().to_owned();
        assert_eq!(message(reshape(&x, &[4])), "reshape: expected a shape of the 6 elements of (2, 3); got (4,)");
        assert_eq!(
            message(reshape(&x, &[4, -1])),
            "reshape: expected a shape of the 6 elements of (2, 3); got (4, -1)"
        );
        assert_eq!(
            message(reshape(&x, &[-1, -1])),
            "reshape: expected sizes of at least 0, and at most one -1; got (-1, -1)"
        );
        assert_eq!(
            message(view(&transpose(&x, 0, 1).unwrap(), &[6])),
            "view: expected a shape that keeps together the dimensions of (3, 2) that lie together in memory (use \
             reshape()); got (6,)"
        );
        assert_eq!(message(permute(&x, &[0, 0])), "permute: expected every dimension of (2, 3) once; got (0, 0)");
        assert_eq!(message(expand(&x, &[2, 4])), "expand: expected a shape that (2, 3) broadcasts to; got (2, 4)");
        assert_eq!(unsqueeze(&x, 3).unwrap_err(), Error::Index("unsqueeze: expected dim in [-3, 2]; got 3".into()));
    }

    #[test]
    fn shapes() {
        let x = uniform(&[2, 1, 3, 1], 1);
        let shape = |y: Result<Tensor>| y.unwrap().shape().to_vec();
        assert_eq!(shape(flatten(&x, 1, -1)), [2, 3]);
        assert_eq!(shape(flatten(&uniform(&[], 1), 0, -1)), [1]);
        assert_eq!(shape(squeeze(&x, None)), [2, 3]);
        assert_eq!(shape(squeeze(&x, Some(&[1, 2]))), [2, 3, 1]);
        assert_eq!(shape(unsqueeze(&x, -1)), [2, 1, 3, 1, 1]);
        assert_eq!(shape(transpose(&x, 0, -2)), [3, 1, 2, 1]);
        assert_eq!(shape(transpose(&uniform(&[], 1), 0, -1)), [0_usize; 0]);
        assert_eq!(shape(expand_keeping(&x, &[5, -1, 4, -1, 2])), [5, 2, 4, 3, 2]);
        assert_eq!(shape(broadcast_to(&uniform(&[], 1), &[0, 2])), [0, 2]);
        assert_eq!(shape(t(&uniform(&[2, 3], 1))), [3, 2]);
    }

    #[test]
    fn gradients() {
        let x = [uniform(&[2, 3, 1, 4], 1)];
        gradcheck(|x| reshape(&x[0], &[4, 6]), &x);
        gradcheck(|x| reshape(&transpose(&x[0], 0, 1)?, &[-1]), &x);
        gradcheck(|x| permute(&x[0], &[3, 0, 2, 1]), &x);
        gradcheck(|x| expand(&x[0], &[5, 2, 3, 3, 4]), &x);
        gradcheck(|x| flatten(&squeeze(&x[0], None)?, 0, 1), &x);
        gradcheck(|x| unsqueeze(&x[0], 2), &x);
        gradcheck(|x| expand(&x[0], &[3, 0]), &[uniform(&[3, 1], 2)]);
    }
}
