//! Picking elements: by slices (views), by positions (copies), by masks.
//!
//! ```text
//! slice, select, narrow   a view                                   grad_x: g at the slice, 0 elsewhere
//! gather                  y[i][j] = x[index[i][j]][j] for dim 0    grad_x: g summed at the positions
//! scatter_add             y = x, y[index[i][j]][j] += src[i][j]    grad_x = g, grad_src = gather(g)
//! index_select            the entries of a dimension, in any order grad_x: g summed at the entries
//! index                   everything that x[...] takes in Python
//! ```
//! Positions outside are found before anything is changed. Only [`index`] and [`select`] count negative ones from the end.

mod entries;
mod gather;
mod put;
mod slice;
#[cfg(test)]
mod tests;

pub use entries::{index_add, index_select};
pub(super) use gather::scatter_into_zeros;
pub use gather::{gather, scatter_add};
pub use put::index_put_;
pub use slice::{narrow, select, slice};

use smallvec::{SmallVec, smallvec};

use super::shape::reshape_to;
use super::walk::Walk;
use super::{Op, Outputs, Run, alias, apply, cast, permute, unsqueeze};
use crate::element::DType;
use crate::error::{Error, Result};
use crate::kernels::position::{read, within};
use crate::reserve;
use crate::tensor::layout::{broadcast, dim_index, show};
use crate::tensor::trace;
use crate::tensor::{Dims, Meta, Tensor, View};

/// A dimension of a tensor that has some.
fn dimension(op: &str, x: &Tensor, dim: i64) -> Result<usize> {
    if x.ndim() == 0 {
        return Err(Error::index(format!("{op}: expected a tensor of at least 1 dimension; got one of shape ()")));
    }
    dim_index(op, dim, x.ndim())
}

fn outside(op: &str, index: i64, low: i64, end: i64, dim: usize) -> Error {
    if end <= low {
        return Error::index(format!("{op}: expected no index for dimension {dim} of size 0; got {index}"));
    }
    Error::index(format!("{op}: expected index in [{low}, {}] for dimension {dim}; got {index}", end - 1))
}

/// That all of `index` lies in `low..end`.
fn check_range(op: &str, index: &View<'_>, low: i64, end: i64, dim: usize) -> Result<()> {
    let p = index.ptr::<i64>();
    let mut wrong = None;
    Walk::new(index.shape(), [index.strides()]).run(&crate::threads::Team::SOLO, |at, n, step| {
        for i in 0..n as isize {
            // SAFETY: offsets of the layout.
            let value = unsafe { read(p.offset(at[0] + i * step[0])) };
            if !(low..end).contains(&value) && wrong.is_none() {
                wrong = Some(value);
            }
        }
    });
    wrong.map_or(Ok(()), |value| Err(outside(op, value, low, end, dim)))
}

fn index_dtype(op: &str, dtype: DType) -> Result<()> {
    if dtype == DType::I64 {
        Ok(())
    } else {
        Err(Error::dtype(format!("{op}: expected an index of dtype int64; got {dtype}")))
    }
}

/// Positions of the true elements of a mask: for each dimension, in row-major order. Their number depends on values, so that
/// no plan can hold it.
pub fn nonzero(x: &Tensor) -> Result<Vec<Tensor>> {
    trace::obstacle("the shape of nonzero() depends on values");
    let mask = cast(x, DType::Bool)?;
    let values = mask.to_vec_f64();
    let found = || values.iter().enumerate().filter(|(_, x)| **x != 0.0).map(|(i, _)| i);
    let mut flat: Vec<usize> = reserve::with_capacity(found().count());
    flat.extend(found());
    drop(values);
    let mut step = x.numel();
    Ok(x.shape()
        .iter()
        .map(|&size| {
            step /= size.max(1);
            let column: Vec<i64> = reserve::collected(flat.iter().map(|&i| (i / step.max(1) % size) as i64));
            Tensor::from_slice(&column, &[column.len()])
        })
        .collect())
}

/// One item of `x[...]`.
#[derive(Clone, Debug)]
pub enum Index {
    /// An `int`: the dimension goes.
    At(i64),
    /// `start:stop:step`.
    Slice {
        /// The first entry.
        start: Option<i64>,
        /// The entry before which it ends.
        stop: Option<i64>,
        /// At least 1.
        step: i64,
    },
    /// `...`: all dimensions that no other item names.
    Ellipsis,
    /// `None`: a new dimension of size 1.
    NewAxis,
    /// Positions (int64) of one dimension, or a mask of as many dimensions as it has.
    Tensor(Tensor),
}

impl Index {
    fn dims(&self) -> usize {
        match self {
            Self::Ellipsis | Self::NewAxis => 0,
            Self::Tensor(t) if t.dtype() == DType::Bool => t.ndim(),
            _ => 1,
        }
    }
}

/// Positions in the flattened dimensions of these sizes; negative ones count from the end.
#[derive(Clone, Debug)]
struct Flatten {
    sizes: Dims,
    first_dim: SmallVec<[usize; 4]>,
}

impl Op for Flatten {
    fn name(&self) -> &'static str {
        "index"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let mut shape = Dims::new();
        for meta in inputs {
            index_dtype("index", meta.dtype)?;
            shape = broadcast("index", &shape, &meta.shape)?;
        }
        Ok(smallvec![Meta { shape, dtype: DType::I64 }])
    }

    fn checks(&self) -> bool {
        true
    }

    fn check(&self, inputs: &[View<'_>]) -> Result<()> {
        for ((index, &size), &dim) in inputs.iter().zip(&self.sizes).zip(&self.first_dim) {
            check_range("index", index, -(size as i64), size as i64, dim)?;
        }
        Ok(())
    }

    fn strided(&self) -> bool {
        true
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let y = &outputs[0];
        let py = y.ptr::<i64>();
        for (k, (index, &size)) in inputs.iter().zip(&self.sizes).enumerate() {
            let (size, p) = (size as i64, index.ptr::<i64>());
            let stretched = index.layout().expand(y.shape());
            Walk::new(y.shape(), [&stretched.strides, y.strides()]).run(run.team, |at, n, step| {
                for i in 0..n as isize {
                    // SAFETY: offsets of the layouts; members of the team write different elements of y.
                    unsafe {
                        let (place, y) = (read(p.offset(at[0] + i * step[0])), py.offset(at[1] + i * step[1]));
                        let place = if place < 0 { place.wrapping_add(size) } else { place };
                        // No position at all, if others have changed it since it was checked.
                        let known = within(place, size as usize).is_some() && (k == 0 || *y >= 0);
                        *y = if !known {
                            -1
                        } else if k == 0 {
                            place
                        } else {
                            *y * size + place
                        };
                    }
                }
            });
            // The shares of the next index are others.
            run.team.barrier();
        }
    }

    fn differentiable(&self) -> bool {
        false
    }
}

/// `x[items]`, as Python writes it: views for numbers and slices; for tensors of positions and masks, copies.
///
/// Several tensors of positions broadcast together. Their shape takes the place of their dimensions if these are
/// neighbors, else it comes first.
pub fn index(x: &Tensor, items: &[Index]) -> Result<Tensor> {
    let named: usize = items.iter().map(Index::dims).sum();
    if named > x.ndim() || items.iter().filter(|i| matches!(i, Index::Ellipsis)).count() > 1 {
        return Err(Error::index(format!(
            "index: expected at most {} indices and one ellipsis for a tensor of shape {}; got {named}",
            x.ndim(),
            show(x.shape())
        )));
    }
    let (mut y, mut dim) = (x.clone(), 0);
    let mut source_dim = 0;
    let mut picked: Vec<(usize, usize, Tensor)> = Vec::new();
    for item in items {
        match item {
            Index::At(i) => {
                let size = y.shape()[dim] as i64;
                if *i < -size || *i >= size {
                    return Err(outside("index", *i, -size, size, source_dim));
                }
                y = select(&y, dim as i64, *i)?;
            }
            // All of a dimension, beside others that are cut, is no op: its gradient would go through memory once more.
            Index::Slice { start: None, stop: None, step: 1 } if items.len() > 1 => dim += 1,
            Index::Slice { start, stop, step } => {
                y = slice(&y, dim as i64, *start, *stop, *step)?;
                dim += 1;
            }
            Index::Ellipsis => {
                dim += x.ndim() - named;
                source_dim += x.ndim() - named;
            }
            Index::NewAxis => {
                y = unsqueeze(&y, dim as i64)?;
                dim += 1;
            }
            Index::Tensor(t) if t.dtype() == DType::Bool => {
                let covered = &y.shape()[dim..dim + t.ndim()];
                if covered != t.shape() {
                    return Err(Error::index(format!(
                        "index: expected a mask of shape {} for dimension {source_dim} on; got {}",
                        show(covered),
                        show(t.shape())
                    )));
                }
                if t.ndim() == 0 {
                    return Err(Error::index("index: expected a mask of at least 1 dimension; got one of shape ()"));
                }
                for (k, column) in nonzero(t)?.into_iter().enumerate() {
                    picked.push((dim + k, source_dim + k, column));
                }
                dim += t.ndim();
            }
            Index::Tensor(t) => {
                index_dtype("index", t.dtype())?;
                picked.push((dim, source_dim, t.clone()));
                dim += 1;
            }
        }
        source_dim += item.dims();
    }
    match picked.is_empty() {
        true if y.id() == x.id() && !items.is_empty() => alias(x),
        true => Ok(y),
        false => pick(&y, &picked),
    }
}

/// The elements at tensors of positions: `(dimension, dimension as the user counts it, positions)`.
fn pick(x: &Tensor, picked: &[(usize, usize, Tensor)]) -> Result<Tensor> {
    let adjacent = picked.windows(2).all(|w| w[0].0 + 1 == w[1].0);
    let first = if adjacent { picked[0].0 } else { 0 };
    let x = if adjacent {
        x.clone()
    } else {
        let rest = (0..x.ndim()).filter(|d| picked.iter().all(|p| p.0 != *d));
        let order: Vec<i64> = picked.iter().map(|p| p.0).chain(rest).map(|d| d as i64).collect();
        permute(x, &order)?
    };
    let end = first + picked.len();
    let sizes = Dims::from_slice(&x.shape()[first..end]);
    let tensors: SmallVec<[&Tensor; 3]> = picked.iter().map(|p| &p.2).collect();
    let places = apply(Flatten { sizes: sizes.clone(), first_dim: picked.iter().map(|p| p.1).collect() }, &tensors)?;

    let (before, after) = (&x.shape()[..first], &x.shape()[end..]);
    let joined: Dims = before.iter().copied().chain([sizes.iter().product()]).chain(after.iter().copied()).collect();
    let shape: Dims = before.iter().chain(places.shape()).chain(after).copied().collect();
    let y = index_select(&reshape_to(&x, &joined)?, first as i64, &reshape_to(&places, &[places.numel()])?)?;
    reshape_to(&y, &shape)
}
