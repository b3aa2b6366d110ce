//! Elements at positions along a dimension, and additions to them.

use super::{check_range, index_dtype};
use smallvec::{SmallVec, smallvec};

use crate::error::{Error, Result};
use crate::kernels::elementwise::{Number, To};
use crate::kernels::position::{read, within};
use crate::ops::shape::reshape_to;
use crate::ops::walk::{Walk, map};
use crate::ops::{Grads, Op, Outputs, Run, Saves, apply, cat};
use crate::tensor::layout::{dim_index, show};
use crate::tensor::tape::Backward;
use crate::tensor::{Dims, Layout, Meta, Strides, Tensor, View};
use crate::with_element;

/// That `index` has as many dimensions as x and is nowhere larger, but along `dim`.
fn check_gather_shape(op: &str, x: &[usize], dim: usize, index: &[usize]) -> Result<()> {
    let fits = x.len() == index.len() && (0..x.len()).all(|d| d == dim || index[d] <= x[d]);
    if fits || index.contains(&0) {
        return Ok(());
    }
    let (x, index) = (show(x), show(index));
    Err(Error::value(format!("{op}: expected an index no larger than {x} but along dim {dim}; got {index}")))
}

/// `layout` over the shape of an index, standing still along `dim`; and the step of that dimension.
fn without_dim(layout: &Layout, dim: usize) -> (Strides, isize) {
    let mut strides = layout.strides.clone();
    let step = std::mem::replace(&mut strides[dim], 0);
    (strides, step)
}

#[derive(Clone, Copy, Debug)]
struct Gather {
    dim: usize,
}

impl Op for Gather {
    fn name(&self) -> &'static str {
        "gather"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        index_dtype("gather", inputs[1].dtype)?;
        check_gather_shape("gather", &inputs[0].shape, self.dim, &inputs[1].shape)?;
        Ok(smallvec![Meta { shape: inputs[1].shape.clone(), dtype: inputs[0].dtype }])
    }

    fn checks(&self) -> bool {
        true
    }

    fn check(&self, inputs: &[View<'_>]) -> Result<()> {
        check_range("gather", &inputs[1], 0, inputs[0].shape()[self.dim] as i64, self.dim)
    }

    fn strided(&self) -> bool {
        true
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let (x, index, y) = (&inputs[0], &inputs[1], &outputs[0]);
        if y.numel() == 0 {
            return;
        }
        let (strides, along) = without_dim(x.layout(), self.dim);
        let size = x.shape()[self.dim];
        let walk = Walk::new(y.shape(), [&strides, index.strides(), y.strides()]);
        with_element!(y.dtype(), T => {
            let (px, pi, py) = (x.ptr::<T>(), index.ptr::<i64>(), y.ptr::<T>());
            walk.run(run.team, |at, n, step| {
                for i in 0..n as isize {
                    // SAFETY: offsets of the layouts; members of the team write different elements of y.
                    unsafe {
                        let place = within(read(pi.offset(at[1] + i * step[1])), size);
                        let value = place.map(|place| *px.offset(at[0] + i * step[0] + place as isize * along));
                        *py.offset(at[2] + i * step[2]) = value.unwrap_or_default();
                    }
                }
            });
        });
    }

    fn saves(&self) -> Saves {
        Saves::inputs(0b10)
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let grad = scatter_into_zeros(&cx.input_meta[0].shape, self.dim, cx.input(1), cx.grad())?;
        Ok(smallvec![Some(grad), None])
    }
}

/// `y[i][j] = x[index[i][j]][j]` for dim 0, and so on: y has the shape of `index`, which has as many dimensions as x and is
/// not larger but along `dim`.
pub fn gather(x: &Tensor, dim: i64, index: &Tensor) -> Result<Tensor> {
    if x.ndim() == 0 {
        let y = gather(&reshape_to(x, &[1])?, dim, &reshape_to(index, &[index.numel()])?)?;
        return reshape_to(&y, index.shape());
    }
    apply(Gather { dim: dim_index("gather", dim, x.ndim())? }, &[x, index])
}

/// Inputs x, index, src; without x where zeros take its place.
#[derive(Clone, Debug)]
struct ScatterAdd {
    dim: usize,
    zeros: Option<Dims>,
}

impl Op for ScatterAdd {
    fn name(&self) -> &'static str {
        "scatter_add"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let [.., index, src] = inputs else { unreachable!("an index and a source") };
        let shape = self.zeros.clone().unwrap_or_else(|| inputs[0].shape.clone());
        index_dtype("scatter_add", index.dtype)?;
        check_gather_shape("scatter_add", &shape, self.dim, &index.shape)?;
        if index.shape.len() != src.shape.len() || index.shape.iter().zip(&src.shape).any(|(i, s)| i > s) {
            let expected = format!("a source of at least the index's shape {}", show(&index.shape));
            return Err(crate::ops::shape_error("scatter_add", &expected, &src.shape));
        }
        if self.zeros.is_none() && inputs[0].dtype != src.dtype {
            let (x, src) = (inputs[0].dtype, src.dtype);
            return Err(Error::dtype(format!("scatter_add: expected a source of dtype {x}; got {src}")));
        }
        Ok(smallvec![Meta { shape, dtype: src.dtype }])
    }

    fn checks(&self) -> bool {
        true
    }

    fn check(&self, inputs: &[View<'_>]) -> Result<()> {
        let shape = self.zeros.as_deref().unwrap_or_else(|| inputs[0].shape());
        check_range("scatter_add", &inputs[inputs.len() - 2], 0, shape[self.dim] as i64, self.dim)
    }

    fn strided(&self) -> bool {
        true
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let [.., index, src] = inputs else { unreachable!("an index and a source") };
        let y = &outputs[0];
        with_element!(y.dtype(), T => {
            if self.zeros.is_some() {
                // SAFETY: shares of a team do not overlap.
                unsafe { y.part::<T>(run.team.share(y.numel())) }.fill(T::default());
            } else {
                map::<T, _>(run.team, To(T::default()), &inputs[0], y);
            }
            run.team.barrier();
            if index.numel() == 0 {
                return;
            }
            // Lines along `dim` meet in no element, so members share lines; along a line the order is that of the index.
            let (lines, count) = (without(index.shape(), self.dim), index.shape()[self.dim]);
            let strides = [index, src, y].map(|v| without(v.strides(), self.dim));
            let along = [index, src, y].map(|v| v.strides()[self.dim]);
            let size = y.shape()[self.dim];
            let (pi, ps, py) = (index.ptr::<i64>(), src.ptr::<T>(), y.ptr::<T>());
            Walk::new(&lines, [&strides[0], &strides[1], &strides[2]]).run(run.team, |at, n, step| {
                for i in 0..count as isize {
                    for line in 0..n as isize {
                        // SAFETY: offsets of the layouts; lines are of one member each.
                        unsafe {
                            let place = read(pi.offset(at[0] + line * step[0] + i * along[0]));
                            let Some(place) = within(place, size) else { continue };
                            let value = *ps.offset(at[1] + line * step[1] + i * along[1]);
                            let target = py.offset(at[2] + line * step[2] + place as isize * along[2]);
                            *target = (*target).plus(value);
                        }
                    }
                }
            });
        });
    }

    fn saves(&self) -> Saves {
        if self.zeros.is_some() { Saves::inputs(1) } else { Saves::inputs(0b10) }
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let g = cx.grad();
        let src = 1 + usize::from(self.zeros.is_none());
        let grad_src = || {
            let index = cx.input(src - 1);
            let picked = gather(g, self.dim as i64, index)?;
            // Zeros for what the index does not reach.
            let mut whole = picked;
            for (d, &n) in cx.input_meta[src].shape.iter().enumerate() {
                let mut rest = Dims::from_slice(whole.shape());
                rest[d] = n - whole.shape()[d];
                if rest[d] > 0 {
                    whole = cat(&[&whole, &Tensor::zeros(&rest, g.dtype())], d as i64)?;
                }
            }
            Ok(whole)
        };
        let grad_src = cx.needs(src).then(grad_src).transpose()?;
        Ok(if self.zeros.is_some() { smallvec![None, grad_src] } else { smallvec![Some(g.clone()), None, grad_src] })
    }
}

fn without<T: Copy>(x: &[T], dim: usize) -> SmallVec<[T; 4]> {
    x.iter().enumerate().filter(|&(d, _)| d != dim).map(|(_, &x)| x).collect()
}

/// x with `src[i][j]` added at `[index[i][j]][j]` for dim 0, and so on. Where several meet, they are added in the order of
/// the index.
pub fn scatter_add(x: &Tensor, dim: i64, index: &Tensor, src: &Tensor) -> Result<Tensor> {
    if x.ndim() == 0 {
        let [index, src] = [index, src].map(|t| reshape_to(t, &[t.numel()]));
        return reshape_to(&scatter_add(&reshape_to(x, &[1])?, dim, &index?, &src?)?, &[]);
    }
    apply(ScatterAdd { dim: dim_index("scatter_add", dim, x.ndim())?, zeros: None }, &[x, index, src])
}

/// [`scatter_add`] to zeros.
pub(in crate::ops) fn scatter_into_zeros(shape: &[usize], dim: usize, index: &Tensor, src: &Tensor) -> Result<Tensor> {
    apply(ScatterAdd { dim, zeros: Some(Dims::from_slice(shape)) }, &[index, src])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::gradcheck::run_unchecked;

    #[test]
    fn positions_that_have_left_the_tensor_are_passed_over() {
        let x = Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3]);
        let index = Tensor::from_slice(&[0_i64, -1, i64::MAX, 2, 3, i64::MIN], &[2, 3]);
        let picked = run_unchecked(&Gather { dim: 1 }, &[&x, &index]);
        assert_eq!(picked[0].to_vec_f64(), [1.0, 0.0, 0.0, 6.0, 0.0, 0.0]);
        let src = Tensor::from_slice(&[10.0, 20.0, 30.0, 40.0, 50.0, 60.0], &[2, 3]);
        let sums = run_unchecked(&ScatterAdd { dim: 1, zeros: None }, &[&x, &index, &src]);
        assert_eq!(sums[0].to_vec_f64(), [11.0, 2.0, 3.0, 4.0, 5.0, 46.0]);
        let sums = run_unchecked(&ScatterAdd { dim: 1, zeros: Some(Dims::from_slice(&[2, 3])) }, &[&index, &src]);
        assert_eq!(sums[0].to_vec_f64(), [10.0, 0.0, 0.0, 0.0, 0.0, 40.0]);
    }
}
