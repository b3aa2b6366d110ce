//! Shapes, strides and broadcasting.

use smallvec::SmallVec;

use crate::error::{Error, Result};

/// Sizes of the dimensions; up to four without an allocation.
pub type Dims = SmallVec<[usize; 4]>;
/// Steps between neighbors along each dimension, in elements.
pub type Strides = SmallVec<[isize; 4]>;

/// Positions of a tensor's elements in its storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Sizes of the dimensions.
    pub shape: Dims,
    /// Steps in elements.
    pub strides: Strides,
    /// The first element's place in the storage, in elements.
    pub offset: usize,
}

impl Layout {
    /// Row-major from the storage's start.
    #[must_use]
    pub fn contiguous(shape: &[usize]) -> Self {
        Self { shape: Dims::from_slice(shape), strides: row_major(shape), offset: 0 }
    }

    /// Number of elements.
    #[must_use]
    pub fn numel(&self) -> usize {
        self.shape.iter().product()
    }

    /// Number of dimensions.
    #[must_use]
    pub fn ndim(&self) -> usize {
        self.shape.len()
    }

    /// True if the elements lie in row-major order without gaps.
    #[must_use]
    pub fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        for (&size, &stride) in self.shape.iter().zip(&self.strides).rev() {
            if size != 1 {
                if stride != expected {
                    // Without elements there are no gaps.
                    return self.shape.contains(&0);
                }
                expected *= size as isize;
            }
        }
        true
    }

    /// The same elements as another shape, if that needs no copy.
    #[must_use]
    pub fn reshape(&self, shape: &[usize]) -> Option<Self> {
        if self.is_contiguous() {
            return Some(Self { shape: Dims::from_slice(shape), strides: row_major(shape), offset: self.offset });
        }
        // Match runs of old dimensions that are contiguous among themselves with runs of new ones of the same size.
        let old: SmallVec<[(usize, isize); 4]> =
            self.shape.iter().copied().zip(self.strides.iter().copied()).filter(|&(n, _)| n != 1).collect();
        let mut strides: Strides = SmallVec::from_elem(0, shape.len());
        let (mut i, mut j) = (0, 0);
        while i < old.len() && j < shape.len() {
            let (mut old_size, mut new_size) = (old[i].0, shape[j]);
            let (i0, j0) = (i, j);
            while old_size != new_size {
                if old_size < new_size {
                    i += 1;
                    old_size *= old[i].0;
                } else {
                    j += 1;
                    new_size *= shape[j];
                }
            }
            for d in i0..i {
                if old[d].1 != old[d + 1].1 * old[d + 1].0 as isize {
                    return None;
                }
            }
            let mut stride = old[i].1;
            for d in (j0..=j).rev() {
                strides[d] = stride;
                stride *= shape[d] as isize;
            }
            i += 1;
            j += 1;
        }
        Some(Self { shape: Dims::from_slice(shape), strides, offset: self.offset })
    }

    /// The view with stride 0 along stretched dimensions.
    #[must_use]
    pub fn expand(&self, shape: &[usize]) -> Self {
        let pad = shape.len() - self.ndim();
        let strides = (0..shape.len())
            .map(|d| if d < pad || (self.shape[d - pad] == 1 && shape[d] != 1) { 0 } else { self.strides[d - pad] })
            .collect();
        Self { shape: Dims::from_slice(shape), strides, offset: self.offset }
    }

    /// Dimensions in another order.
    #[must_use]
    pub fn permute(&self, order: &[usize]) -> Self {
        Self {
            shape: order.iter().map(|&d| self.shape[d]).collect(),
            strides: order.iter().map(|&d| self.strides[d]).collect(),
            offset: self.offset,
        }
    }
}

/// Strides of a row-major tensor.
#[must_use]
pub fn row_major(shape: &[usize]) -> Strides {
    let mut strides: Strides = SmallVec::from_elem(1, shape.len());
    for d in (1..shape.len()).rev() {
        strides[d - 1] = strides[d] * shape[d].max(1) as isize;
    }
    strides
}

/// The shape two operands broadcast to, as in NumPy; `op` names the caller in the error.
pub fn broadcast(op: &str, a: &[usize], b: &[usize]) -> Result<Dims> {
    if a == b {
        return Ok(Dims::from_slice(a));
    }
    let n = a.len().max(b.len());
    let size = |s: &[usize], d: usize| if d + s.len() >= n { s[d + s.len() - n] } else { 1 };
    (0..n)
        .map(|d| match (size(a, d), size(b, d)) {
            (x, y) if x == y || y == 1 => Ok(x),
            (1, y) => Ok(y),
            _ => Err(Error::value(format!(
                "{op}: expected shapes that broadcast together; got {} and {}",
                show(a),
                show(b)
            ))),
        })
        .collect()
}

/// A dimension that may count from the end, as an index; `op` names the caller in the error.
pub fn dim_index(op: &str, dim: i64, ndim: usize) -> Result<usize> {
    let n = ndim.max(1) as i64;
    if dim < -n || dim >= n {
        return Err(Error::index(format!("{op}: expected dim in [{}, {}]; got {dim}", -n, n - 1)));
    }
    Ok((if dim < 0 { dim + n } else { dim }) as usize)
}

/// The shape as Python writes it: `(2, 3)`, `(2,)`, `()`.
#[must_use]
pub fn show(shape: &[usize]) -> String {
    match shape {
        [n] => format!("({n},)"),
        _ => format!("({})", shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reshape_of_a_permuted_layout_needs_no_copy_where_runs_stay_together() {
        let layout = Layout::contiguous(&[2, 3, 4]).permute(&[2, 0, 1]); // (4, 2, 3), the last two a run
        assert_eq!(layout.reshape(&[4, 6]).unwrap().strides.as_slice(), [1, 4]);
        assert_eq!(layout.reshape(&[2, 2, 6]).unwrap().strides.as_slice(), [2, 1, 4]);
        assert!(layout.reshape(&[8, 3]).is_none());
    }

    #[test]
    fn shapes_broadcast_as_in_numpy() {
        assert_eq!(broadcast("add", &[3, 1], &[2, 1, 4]).unwrap().as_slice(), [2, 3, 4]);
        let message = "add: expected shapes that broadcast together; got (3,) and (2, 4)";
        assert_eq!(broadcast("add", &[3], &[2, 4]).unwrap_err().message(), message);
    }

    #[test]
    fn size_one_dimensions_do_not_break_contiguity() {
        let mut layout = Layout::contiguous(&[5, 1, 3]);
        layout.strides[1] = 77;
        assert!(layout.is_contiguous());
        assert!(!layout.permute(&[2, 1, 0]).is_contiguous());
    }
}
