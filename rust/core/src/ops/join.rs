//! Joining and parting tensors.
//!
//! ```text
//! cat     one after the other along a dimension    grad of each: its part of g
//! stack   along a new dimension
//! split   parts of given sizes (views)             grad_x: g at the part, 0 elsewhere
//! chunk   a number of parts of one size, the last perhaps smaller (views)
//! ```

use smallvec::{SmallVec, smallvec};

use super::binary::wider;
use super::walk::map;
use super::{Grads, Op, Outputs, Run, apply, cast, narrow, select, unsqueeze};
use crate::error::{Error, Result};
use crate::kernels::elementwise::To;
use crate::reserve;
use crate::tensor::layout::{dim_index, show};
use crate::tensor::tape::Backward;
use crate::tensor::{Layout, Meta, Tensor, View};
use crate::with_element;

#[derive(Clone, Copy, Debug)]
struct Cat {
    dim: usize,
}

impl Op for Cat {
    fn name(&self) -> &'static str {
        "cat"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let first = &inputs[0];
        let mut shape = first.shape.clone();
        for (i, other) in inputs.iter().enumerate().skip(1) {
            let fits = other.shape.len() == shape.len()
                && (0..shape.len()).all(|d| d == self.dim || other.shape[d] == shape[d]);
            if !fits {
                return Err(Error::value(format!(
                    "cat: expected shapes that differ along dim {} only; got {} and, as tensor {i}, {}",
                    self.dim,
                    show(&first.shape),
                    show(&other.shape)
                )));
            }
            shape[self.dim] = shape[self.dim].saturating_add(other.shape[self.dim]);
        }
        Ok(smallvec![Meta { shape, dtype: first.dtype }])
    }

    fn strided(&self) -> bool {
        true
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let y = &outputs[0];
        let mut start = 0;
        for x in inputs {
            let size = x.shape()[self.dim];
            let mut layout: Layout = y.layout().clone();
            layout.shape[self.dim] = size;
            if x.numel() > 0 {
                let first = start as isize * layout.strides[self.dim];
                with_element!(y.dtype(), T => {
                    // SAFETY: the part of the output that this input fills.
                    let part = unsafe { View::new(y.ptr::<T>().offset(first).cast(), &layout, y.dtype()) };
                    map::<T, _>(run.team, To(T::default()), x, &part);
                });
            }
            start += size;
        }
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let mut start = 0;
        let parts = cx.input_meta.iter().enumerate().map(|(i, meta)| {
            let size = meta.shape[self.dim];
            let part = cx.needs(i).then(|| narrow(cx.grad(), self.dim as i64, start, size)).transpose();
            start += size as i64;
            part
        });
        parts.collect()
    }
}

/// The tensors one after the other along `dim`, in the greatest of their dtypes. Vectors of no element are left out, as in
/// `PyTorch`.
pub fn cat(tensors: &[&Tensor], dim: i64) -> Result<Tensor> {
    let Some(&any) = tensors.first() else {
        return Err(Error::value("cat: expected at least one tensor; got none"));
    };
    let dtype = tensors.iter().fold(any.dtype(), |dtype, t| wider(dtype, t.dtype()));
    let filled: SmallVec<[&Tensor; 4]> = tensors.iter().copied().filter(|t| t.shape() != [0]).collect();
    let Some(first) = filled.first() else { return cast(any, dtype) };
    if let Some(number) = tensors.iter().position(|t| t.ndim() == 0) {
        return Err(Error::value(format!("cat: expected tensors of at least 1 dimension; got () as tensor {number}")));
    }
    let dim = dim_index("cat", dim, first.ndim())?;
    let ready: SmallVec<[Tensor; 4]> = filled.iter().map(|t| cast(t, dtype)).collect::<Result<_>>()?;
    let inputs: SmallVec<[&Tensor; 4]> = ready.iter().collect();
    apply(Cat { dim }, &inputs)
}

/// The tensors, all of one shape, along a new dimension `dim`.
pub fn stack(tensors: &[&Tensor], dim: i64) -> Result<Tensor> {
    let Some(first) = tensors.first() else {
        return Err(Error::value("stack: expected at least one tensor; got none"));
    };
    if let Some(other) = tensors.iter().find(|t| t.shape() != first.shape()) {
        let (first, other) = (show(first.shape()), show(other.shape()));
        return Err(Error::value(format!("stack: expected tensors of one shape; got {first} and {other}")));
    }
    let dim = dim_index("stack", dim, first.ndim() + 1)? as i64;
    let raised = tensors.iter().map(|t| unsqueeze(t, dim)).collect::<Result<Vec<_>>>()?;
    cat(&raised.iter().collect::<Vec<_>>(), dim)
}

fn parts_of(op: &str, x: &Tensor, dim: i64) -> Result<(i64, usize)> {
    if x.ndim() == 0 {
        return Err(super::shape_error(op, "a tensor of at least 1 dimension", x.shape()));
    }
    let dim = dim_index(op, dim, x.ndim())?;
    Ok((dim as i64, x.shape()[dim]))
}

/// Bytes of a view, at least: a tensor, its place on the tape, and an object of Python.
const VIEW_BYTES: usize = 512;

/// `count` views that one call of `op` returns: PyTorch lets none of them be changed in place on the tape.
fn several(op: &str, count: usize, views: impl Iterator<Item = Result<Tensor>>) -> Result<Vec<Tensor>> {
    reserve::guard(op, || {
        reserve::check(count, VIEW_BYTES);
        let views: Vec<Tensor> = views.collect::<Result<_>>()?;
        views.iter().for_each(Tensor::mark_one_of_several);
        Ok(views)
    })
}

/// The entries of dimension `dim`, each without that dimension.
pub fn unbind(x: &Tensor, dim: i64) -> Result<Vec<Tensor>> {
    let (dim, size) = parts_of("unbind", x, dim)?;
    several("unbind", size, (0..size as i64).map(|i| select(x, dim, i)))
}

/// Parts of the sizes `sizes` along `dim`, together all of it.
pub fn split_sizes(x: &Tensor, sizes: &[usize], dim: i64) -> Result<Vec<Tensor>> {
    let (dim, size) = parts_of("split", x, dim)?;
    if sizes.iter().fold(0, |sum: usize, &n| sum.saturating_add(n)) != size {
        return Err(Error::value(format!("split: expected sizes that sum to {size}; got {}", show(sizes))));
    }
    let mut start = 0;
    let part = |&n: &usize| {
        let part = narrow(x, dim, start, n);
        start += n as i64;
        part
    };
    several("split", sizes.len(), sizes.iter().map(part))
}

/// Parts of `size` entries along `dim`, the last perhaps smaller.
pub fn split(x: &Tensor, size: usize, dim: i64) -> Result<Vec<Tensor>> {
    let (dim, whole) = parts_of("split", x, dim)?;
    if whole == 0 {
        return several("split", 1, std::iter::once(narrow(x, dim, 0, 0)));
    }
    if size == 0 {
        return Err(Error::value("split: expected a size of at least 1; got 0"));
    }
    let starts = (0..whole).step_by(size);
    several("split", whole.div_ceil(size), starts.map(|start| narrow(x, dim, start as i64, size.min(whole - start))))
}

/// At most `chunks` parts along `dim`, all of one size but perhaps the last.
pub fn chunk(x: &Tensor, chunks: usize, dim: i64) -> Result<Vec<Tensor>> {
    let (dim, whole) = parts_of("chunk", x, dim)?;
    if chunks == 0 {
        return Err(Error::value("chunk: expected at least 1 chunk; got 0"));
    }
    if whole == 0 {
        return several("chunk", chunks, (0..chunks).map(|_| narrow(x, dim, 0, 0)));
    }
    split(x, whole.div_ceil(chunks), dim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::element::DType;
    use crate::ops::gradcheck::{gradcheck, uniform};
    use crate::ops::{Saves, permute, sum};

    #[test]
    fn cat_puts_one_after_the_other() {
        let (a, b) = (uniform(&[2, 3], 1), permute(&uniform(&[3, 5], 2), &[1, 0]).unwrap());
        let y = cat(&[&a, &b], 0).unwrap();
        assert_eq!(y.shape(), [7, 3]);
        assert_eq!(y.to_vec_f64(), [a.to_vec_f64(), b.to_vec_f64()].concat());
        let y = cat(&[&a, &uniform(&[2, 0], 3), &a], -1).unwrap();
        assert_eq!(y.shape(), [2, 6]);
        assert_eq!(y.to_vec_f64()[..6], [&a.to_vec_f64()[..3], &a.to_vec_f64()[..3]].concat());
        assert_eq!(cat(&[&uniform(&[0], 1), &a], 0).unwrap().shape(), [2, 3]);
        let (i, f) = (Tensor::full(&[1], 2.0, DType::I64), Tensor::full(&[1], 0.5, DType::F32));
        let y = cat(&[&i, &f], 0).unwrap();
        assert_eq!((y.dtype(), y.to_vec_f64()), (DType::F32, vec![2.0, 0.5]));
    }

    #[test]
    fn stack_makes_a_dimension() {
        let (a, b) = (uniform(&[3], 1), uniform(&[3], 2));
        let y = stack(&[&a, &b], -1).unwrap();
        assert_eq!(y.shape(), [3, 2]);
        let (a, b) = (a.to_vec_f64(), b.to_vec_f64());
        assert_eq!(y.to_vec_f64(), [a[0], b[0], a[1], b[1], a[2], b[2]]);
        assert_eq!(stack(&[&uniform(&[], 1), &uniform(&[], 2)], 0).unwrap().shape(), [2]);
    }

    #[test]
    fn parts_are_views_of_the_right_sizes() {
        let x = uniform(&[2, 7], 1);
        let sizes = |parts: Vec<Tensor>| parts.iter().map(|p| p.shape()[1]).collect::<Vec<_>>();
        assert_eq!(sizes(split(&x, 3, 1).unwrap()), [3, 3, 1]);
        assert_eq!(sizes(chunk(&x, 3, 1).unwrap()), [3, 3, 1]);
        assert_eq!(sizes(chunk(&x, 5, 1).unwrap()), [2, 2, 2, 1]);
        assert_eq!(sizes(split_sizes(&x, &[0, 5, 2], -1).unwrap()), [0, 5, 2]);
        assert!(split(&x, 3, 1).unwrap()[1].is_view());
        let again = split(&x, 3, 1).unwrap();
        assert_eq!(cat(&again.iter().collect::<Vec<_>>(), 1).unwrap().to_vec_f64(), x.to_vec_f64());
    }

    #[test]
    fn gradients() {
        let inputs = [uniform(&[2, 3], 1), uniform(&[2, 1], 2), uniform(&[2, 4], 3)];
        gradcheck(|x| cat(&x.iter().collect::<Vec<_>>(), 1), &inputs);
        gradcheck(|x| stack(&[&x[0], &x[0]], 1), &inputs[..1]);
        gradcheck(|x| sum(&chunk(&x[0], 2, 1)?[1], None, false), &inputs[..1]);
    }

    #[test]
    fn there_may_be_more_tensors_than_bits_that_say_which_are_saved() {
        let all: Vec<Tensor> = (0..70).map(|i| uniform(&[2, 1 + i % 3], i as u64)).collect();
        gradcheck(|x| cat(&x.iter().collect::<Vec<_>>(), 1), &all);
        assert!(Saves::ALL.input(31) && Saves::ALL.input(32) && Saves::ALL.input(1000));
        assert!(!Saves::NONE.input(32) && !Saves::inputs(0b11).input(32) && Saves::inputs(0b11).input(1));
    }

    #[test]
    fn misfits_are_named() {
        let message = |result: Result<Tensor>| result.unwrap_err().message().to_owned();
        let (a, b) = (uniform(&[2, 3], 1), uniform(&[2, 4], 2));
        assert_eq!(
            message(cat(&[&a, &b], 0)),
            "cat: expected shapes that differ along dim 0 only; got (2, 3) and, as tensor 1, (2, 4)"
        );
        assert_eq!(message(stack(&[&a, &b], 0)), "stack: expected tensors of one shape; got (2, 3) and (2, 4)");
        assert_eq!(message(cat(&[], 0)), "cat: expected at least one tensor; got none");
        let error = split_sizes(&a, &[1, 1], 1).unwrap_err();
        assert_eq!(error.message(), "split: expected sizes that sum to 3; got (1, 1)");
    }
}
