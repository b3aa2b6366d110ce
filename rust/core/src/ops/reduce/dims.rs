//! The dimensions that a reduction removes, and their layout in memory.

use std::ops::Range;

use smallvec::SmallVec;

use crate::error::{Error, Result};
use crate::kernels::reduce::Axis;
use crate::ops::permute;
use crate::tensor::layout::dim_index;
use crate::tensor::{Dims, Tensor};

/// Mask of the dimensions that are reduced; all if none is named.
pub(super) fn reduced(op: &str, x: &Tensor, dims: Option<&[i64]>) -> Result<SmallVec<[bool; 4]>> {
    let Some(dims) = dims.filter(|dims| !dims.is_empty()) else {
        return Ok(SmallVec::from_elem(true, x.ndim()));
    };
    let mut flags = SmallVec::from_elem(false, x.ndim().max(1));
    for &d in dims {
        let place = dim_index(op, d, x.ndim())?;
        if std::mem::replace(&mut flags[place], true) {
            return Err(Error::value(format!("{op}: expected each dimension once; got dim {d} twice")));
        }
    }
    flags.truncate(x.ndim());
    Ok(flags)
}

/// The shape with reduced dimensions as 1, or without them.
pub(super) fn result_shapes(shape: &[usize], flags: &[bool], keepdim: bool) -> (Dims, Dims) {
    let kept: Dims = shape.iter().zip(flags).map(|(&n, &gone)| if gone { 1 } else { n }).collect();
    let out = if keepdim {
        kept.clone()
    } else {
        shape.iter().zip(flags).filter(|(_, gone)| !**gone).map(|(&n, _)| n).collect()
    };
    (kept, out)
}

/// The reduced dimensions in runs of neighbors, first run first: each `(first, end)`. Sizes of 1 part none.
pub(super) fn runs(shape: &[usize], flags: &[bool]) -> SmallVec<[(usize, usize); 2]> {
    let mut runs: SmallVec<[(usize, usize); 2]> = SmallVec::new();
    let mut open = false;
    for d in (0..shape.len()).filter(|&d| shape[d] != 1) {
        match (flags[d], open) {
            (true, true) => runs.last_mut().expect("a run is open").1 = d + 1,
            (true, false) => runs.push((d, d + 1)),
            (false, _) => {}
        }
        open = flags[d];
    }
    runs
}

pub(super) fn axis_of(shape: &[usize], (first, end): (usize, usize)) -> Axis {
    let size = |range: Range<usize>| shape[range].iter().product();
    Axis::new(size(0..first), size(first..end), size(end..shape.len()))
}

/// `x` with the reduced dimensions last, as the axis of one reduction, and that axis.
pub(super) fn one_run(x: &Tensor, flags: &[bool]) -> Result<(Tensor, Axis)> {
    let found = runs(x.shape(), flags);
    match found.as_slice() {
        [] => Ok((x.clone(), Axis::new(x.numel(), 1, 1))),
        [run] => Ok((x.clone(), axis_of(x.shape(), *run))),
        _ => {
            let stay = (0..x.ndim()).filter(|&d| !flags[d]);
            let order: SmallVec<[i64; 4]> = stay.chain((0..x.ndim()).filter(|&d| flags[d])).map(|d| d as i64).collect();
            let turned = permute(x, &order)?;
            let len = x.shape().iter().zip(flags).filter(|(_, gone)| **gone).map(|(n, _)| n).product();
            let outer = x.shape().iter().zip(flags).filter(|(_, gone)| !**gone).map(|(n, _)| n).product();
            let axis = Axis::new(outer, len, 1);
            Ok((turned, axis))
        }
    }
}

pub(super) fn not_empty(op: &str, x: &Tensor, len: usize) -> Result<()> {
    if len > 0 {
        return Ok(());
    }
    Err(crate::ops::shape_error(op, "at least one element to choose from", x.shape()))
}
