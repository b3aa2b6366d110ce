//! Memory that tensors share, and layouts that lead to one element twice.

use std::ops::Range;

use smallvec::SmallVec;

use super::layout::Layout;
use super::{Tensor, for_each_offset};

/// The addresses from a tensor's lowest element to its highest; empty if it has none.
#[must_use]
pub fn addresses(tensor: &Tensor) -> Range<usize> {
    let layout = tensor.layout();
    if layout.numel() == 0 {
        return 0..0;
    }
    let (low, high) = reach(layout);
    let (first, size) = (tensor.view().address().addr(), tensor.dtype().size());
    first.wrapping_add_signed(low * size as isize)..first.wrapping_add_signed((high + 1) * size as isize)
}

/// The lowest and the highest element, counted from the first one.
fn reach(layout: &Layout) -> (isize, isize) {
    layout.shape.iter().zip(&layout.strides).fold((0, 0), |(low, high), (&n, &stride)| {
        let reach = stride * (n as isize - 1);
        (low + reach.min(0), high + reach.max(0))
    })
}

/// Elements that are visited, as bits.
struct Bits(Vec<u64>);

impl Bits {
    fn new(n: usize) -> Self {
        Self(vec![0; n.div_ceil(64)])
    }

    fn has(&self, i: usize) -> bool {
        self.0[i / 64] >> (i % 64) & 1 == 1
    }

    /// True if it was not there.
    fn insert(&mut self, i: usize) -> bool {
        let new = !self.has(i);
        self.0[i / 64] |= 1 << (i % 64);
        new
    }
}

/// True if two indices lead to one element, as in an expanded tensor.
#[must_use]
pub fn repeats(layout: &Layout) -> bool {
    if layout.is_contiguous() || layout.numel() == 0 {
        return false;
    }
    let mut dims: SmallVec<[(usize, usize); 4]> = layout
        .shape
        .iter()
        .zip(&layout.strides)
        .filter(|(n, _)| **n > 1)
        .map(|(&n, stride)| (stride.unsigned_abs(), n))
        .collect();
    dims.sort_unstable();
    let mut reached = 0;
    // Every step goes beyond all that smaller steps reach.
    let apart = dims.iter().all(|&(stride, n)| {
        let beyond = stride > reached;
        reached += stride * (n - 1);
        beyond
    });
    if apart || dims[0].0 == 0 {
        return !apart;
    }
    let (low, high) = reach(layout);
    let (mut seen, mut twice) = (Bits::new((high - low + 1) as usize), false);
    for_each_offset(layout, |offset| twice |= !seen.insert((offset - low) as usize));
    twice
}

/// True if two tensors have an element's memory in common.
#[must_use]
pub fn share(a: &Tensor, b: &Tensor) -> bool {
    let (in_a, in_b) = (addresses(a), addresses(b));
    let common = in_a.start.max(in_b.start)..in_a.end.min(in_b.end);
    if common.is_empty() || (a.layout().is_contiguous() && b.layout().is_contiguous()) {
        return !common.is_empty();
    }
    let unit = a.dtype().size().min(b.dtype().size());
    let mut seen = Bits::new(common.len().div_ceil(unit));
    let each = |tensor: &Tensor, f: &mut dyn FnMut(usize)| {
        let (first, size) = (tensor.view().address().addr(), tensor.dtype().size());
        for_each_offset(tensor.layout(), |offset| {
            let at = first.wrapping_add_signed(offset * size as isize);
            let parts = (at..at + size).step_by(unit).filter(|at| common.contains(at));
            parts.for_each(|at| f((at - common.start) / unit));
        });
    };
    each(a, &mut |i| _ = seen.insert(i));
    let mut met = false;
    each(b, &mut |i| met |= seen.has(i));
    met
}

/// The first two of these, by number, that have memory in common.
#[must_use]
pub fn first_shared(tensors: &[Tensor]) -> Option<(usize, usize)> {
    let mut order: Vec<(Range<usize>, usize)> =
        tensors.iter().map(addresses).zip(0..).filter(|(range, _)| !range.is_empty()).collect();
    order.sort_unstable_by_key(|(range, i)| (range.start, *i));
    let mut found: Option<(usize, usize)> = None;
    // Those that reach as far as the next one begins.
    let mut open: Vec<(usize, usize)> = Vec::new();
    for (range, i) in order {
        open.retain(|&(end, _)| end > range.start);
        for &(_, j) in &open {
            let pair = (i.min(j), i.max(j));
            if found.is_none_or(|found| pair < found) && share(&tensors[i], &tensors[j]) {
                found = Some(pair);
            }
        }
        open.push((range.end, i));
    }
    found
}

/// Memory in pieces, to be asked whether a tensor may lie in it.
#[derive(Clone, Debug, Default)]
pub struct Pieces(Vec<Range<usize>>);

impl Pieces {
    /// The memory of these tensors.
    #[must_use]
    pub fn of<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> Self {
        let mut pieces: Vec<_> = tensors.into_iter().map(addresses).filter(|range| !range.is_empty()).collect();
        pieces.sort_unstable_by_key(|range| range.start);
        // Joined, so that their ends are in order too.
        pieces.dedup_by(|next, last| {
            let joins = next.start <= last.end;
            if joins {
                last.end = last.end.max(next.end);
            }
            joins
        });
        Self(pieces)
    }

    /// True if a tensor reaches into them.
    #[must_use]
    pub fn meet(&self, tensor: &Tensor) -> bool {
        let range = addresses(tensor);
        let next = self.0.partition_point(|piece| piece.end <= range.start);
        !range.is_empty() && self.0.get(next).is_some_and(|piece| piece.start < range.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::element::DType;

    fn view(of: &Tensor, shape: &[usize], strides: &[isize], offset: usize) -> Tensor {
        of.alias(Layout { shape: shape.into(), strides: strides.into(), offset })
    }

    #[test]
    fn layouts_that_repeat_elements() {
        let repeats = |shape: &[usize], strides: &[isize]| {
            repeats(&Layout { shape: shape.into(), strides: strides.into(), offset: 0 })
        };
        assert!(!repeats(&[3, 4], &[4, 1]) && !repeats(&[3, 4], &[1, 3]) && !repeats(&[3, 4], &[-8, 2]));
        assert!(repeats(&[3, 4], &[0, 1]) && repeats(&[3, 3], &[1, 1]) && repeats(&[2, 5], &[4, 1]));
        assert!(!repeats(&[1, 4], &[0, 1]) && !repeats(&[0, 4], &[0, 1]));
        // 0, 2, 4 and 3, 5, 7: neighbors overlap in reach, and in no element.
        assert!(!repeats(&[2, 3], &[3, 2]));
        // 0, 2, 4, 6 and 6, 8, …
        assert!(repeats(&[3, 4], &[3, 2]));
    }

    #[test]
    fn memory_is_shared_where_an_element_is() {
        let base = Tensor::zeros(&[24], DType::F32);
        let even = view(&base, &[12], &[2], 0);
        let odd = view(&base, &[12], &[2], 1);
        let thirds = view(&base, &[8], &[3], 0);
        let last = view(&base, &[4], &[1], 20);
        let none = view(&base, &[0], &[1], 0);
        assert!(!share(&even, &odd) && share(&even, &thirds) && share(&odd, &last) && share(&last, &base));
        assert!(!share(&none, &base) && !share(&last, &Tensor::zeros(&[4], DType::F32)));
        let backwards = view(&base, &[12], &[-2], 23);
        assert!(share(&backwards, &odd) && !share(&backwards, &even));
        assert_eq!(first_shared(&[even.clone(), odd.clone(), none.clone()]), None);
        assert_eq!(first_shared(&[odd, even.clone(), last.clone(), thirds]), Some((0, 2)));
        assert_eq!(first_shared(&[base.clone(), none, base.clone()]), Some((0, 2)));

        let other = Tensor::zeros(&[5], DType::F64);
        let pieces = Pieces::of([&other, &last, &view(&base, &[2], &[1], 3), &view(&base, &[3], &[1], 4)]);
        assert!(pieces.meet(&last) && pieces.meet(&other) && pieces.meet(&base) && pieces.meet(&even));
        assert!(!pieces.meet(&view(&base, &[3], &[1], 0)) && !pieces.meet(&view(&base, &[13], &[1], 7)));
        assert!(pieces.meet(&view(&base, &[1], &[1], 6)) && !Pieces::default().meet(&base));
    }
}
