//! Whole entries of a dimension, by position, and additions to them.

use super::{check_range, dimension, index_dtype};
use smallvec::smallvec;

use crate::error::{Error, Result};
use crate::kernels::elementwise::Number;
use crate::kernels::position::{read_ref, within};
use crate::ops::shape::reshape_to;
use crate::ops::{Grads, Op, Outputs, Run, Saves, apply};
use crate::tensor::layout::{dim_index, show};
use crate::tensor::tape::Backward;
use crate::tensor::{Dims, Meta, Tensor, View};
use crate::with_element;

/// Sizes before, along and after a dimension.
fn around(shape: &[usize], dim: usize) -> (usize, usize, usize) {
    (shape[..dim].iter().product(), shape[dim], shape[dim + 1..].iter().product())
}

fn index_vector(op: &str, meta: &Meta) -> Result<usize> {
    index_dtype(op, meta.dtype)?;
    match *meta.shape.as_slice() {
        [] => Ok(1),
        [n] => Ok(n),
        _ => Err(crate::ops::shape_error(op, "an index of one dimension", &meta.shape)),
    }
}

#[derive(Clone, Copy, Debug)]
struct IndexSelect {
    dim: usize,
}

impl Op for IndexSelect {
    fn name(&self) -> &'static str {
        "index_select"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let mut shape = inputs[0].shape.clone();
        shape[self.dim] = index_vector("index_select", &inputs[1])?;
        Ok(smallvec![Meta { shape, dtype: inputs[0].dtype }])
    }

    fn checks(&self) -> bool {
        true
    }

    fn check(&self, inputs: &[View<'_>]) -> Result<()> {
        check_range("index_select", &inputs[1], 0, inputs[0].shape()[self.dim] as i64, self.dim)
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let (outer, size, inner) = around(inputs[0].shape(), self.dim);
        let index = inputs[1].slice::<i64>();
        let entry = |run: usize| {
            within(read_ref(&index[run % index.len()]), size).map(|entry| run / index.len() * size + entry)
        };
        with_element!(outputs[0].dtype(), T => {
            let x = inputs[0].slice::<T>();
            let runs = run.team.share(outer * index.len());
            // SAFETY: shares of a team do not overlap.
            let y = unsafe { outputs[0].part::<T>(runs.start * inner..runs.end * inner) };
            if inner == 1 {
                for (run, y) in runs.zip(y) {
                    *y = entry(run).map(|from| x[from]).unwrap_or_default();
                }
            } else if inner > 1 {
                for (run, y) in runs.zip(y.chunks_exact_mut(inner)) {
                    match entry(run) {
                        Some(from) => y.copy_from_slice(&x[from * inner..][..inner]),
                        None => y.fill(T::default()),
                    }
                }
            }
        });
    }

    fn saves(&self) -> Saves {
        Saves::inputs(0b10)
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let op = IndexAdd { dim: self.dim, zeros: Some(cx.input_meta[0].shape.clone()) };
        Ok(smallvec![Some(apply(op, &[cx.input(1), cx.grad()])?), None])
    }
}

/// The entries `index`, a vector, of dimension `dim`.
pub fn index_select(x: &Tensor, dim: i64, index: &Tensor) -> Result<Tensor> {
    if x.ndim() == 0 {
        return reshape_to(&index_select(&reshape_to(x, &[1])?, dim, index)?, &[]);
    }
    apply(IndexSelect { dim: dim_index("index_select", dim, x.ndim())? }, &[x, index])
}

/// Inputs x, index, src; without x where zeros take its place.
#[derive(Clone, Debug)]
struct IndexAdd {
    dim: usize,
    zeros: Option<Dims>,
}

impl Op for IndexAdd {
    fn name(&self) -> &'static str {
        "index_add"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let [.., index, src] = inputs else { unreachable!("an index and a source") };
        let shape = self.zeros.clone().unwrap_or_else(|| inputs[0].shape.clone());
        let mut expected = shape.clone();
        expected[self.dim] = index_vector("index_add", index)?;
        if expected != src.shape {
            return Err(crate::ops::shape_error(
                "index_add",
                &format!("a source of shape {}", show(&expected)),
                &src.shape,
            ));
        }
        if self.zeros.is_none() && inputs[0].dtype != src.dtype {
            let (x, src) = (inputs[0].dtype, src.dtype);
            return Err(Error::dtype(format!("index_add: expected a source of dtype {x}; got {src}")));
        }
        Ok(smallvec![Meta { shape, dtype: src.dtype }])
    }

    fn checks(&self) -> bool {
        true
    }

    fn check(&self, inputs: &[View<'_>]) -> Result<()> {
        let shape = self.zeros.as_deref().unwrap_or_else(|| inputs[0].shape());
        check_range("index_add", &inputs[inputs.len() - 2], 0, shape[self.dim] as i64, self.dim)
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let [.., index, src] = inputs else { unreachable!("an index and a source") };
        let y = &outputs[0];
        let (outer, size, inner) = around(y.shape(), self.dim);
        let index = index.slice::<i64>();
        with_element!(y.dtype(), T => {
            let src = src.slice::<T>();
            // Each member has some of the entries and adds to them in the order of the index.
            let mine = run.team.share(outer * size);
            // SAFETY: shares of a team do not overlap.
            let part = unsafe { y.part::<T>(mine.start * inner..mine.end * inner) };
            match &self.zeros {
                Some(_) => part.fill(T::default()),
                None => part.copy_from_slice(&inputs[0].slice::<T>()[mine.start * inner..mine.end * inner]),
            }
            for o in 0..outer {
                for (i, entry) in index.iter().map(read_ref).enumerate() {
                    let Some(entry) = within(entry, size).map(|entry| o * size + entry) else { continue };
                    if mine.contains(&entry) {
                        let to = &mut part[(entry - mine.start) * inner..][..inner];
                        for (to, &from) in to.iter_mut().zip(&src[(o * index.len() + i) * inner..]) {
                            *to = to.plus(from);
                        }
                    }
                }
            }
        });
    }

    fn saves(&self) -> Saves {
        if self.zeros.is_some() { Saves::inputs(1) } else { Saves::inputs(0b10) }
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let g = cx.grad();
        let src = 1 + usize::from(self.zeros.is_none());
        let grad_src = cx.needs(src).then(|| index_select(g, self.dim as i64, cx.input(src - 1))).transpose()?;
        Ok(if self.zeros.is_some() { smallvec![None, grad_src] } else { smallvec![Some(g.clone()), None, grad_src] })
    }
}

/// x with entry i of `src` added to entry `index[i]` of dimension `dim`, in the order of the index.
pub fn index_add(x: &Tensor, dim: i64, index: &Tensor, src: &Tensor) -> Result<Tensor> {
    let dim = dimension("index_add", x, dim)?;
    apply(IndexAdd { dim, zeros: None }, &[x, index, src])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::gradcheck::run_unchecked;

    #[test]
    fn entries_that_have_left_the_tensor_are_passed_over() {
        let index = Tensor::from_slice(&[1_i64, -1, 2, i64::MAX], &[4]);
        for (inner, dim) in [(1, 0), (3, 0)] {
            let x = Tensor::from_slice(&(1..=2 * inner).map(|i| i as f64).collect::<Vec<_>>(), &[2, inner]);
            let picked = run_unchecked(&IndexSelect { dim }, &[&x, &index])[0].to_vec_f64();
            assert_eq!(picked[..inner], x.to_vec_f64()[inner..]);
            assert_eq!(picked[inner..], vec![0.0; 3 * inner]);
            let src = Tensor::full(&[4, inner], 8.0, x.dtype());
            let sums = run_unchecked(&IndexAdd { dim, zeros: None }, &[&x, &index, &src])[0].to_vec_f64();
            let expected: Vec<f64> =
                (0..2 * inner).map(|i| (i + 1) as f64 + if i < inner { 0.0 } else { 8.0 }).collect();
            assert_eq!(sums, expected);
        }
    }
}
