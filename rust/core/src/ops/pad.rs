//! Padding with a constant, in any dimensions.
//!
//! ```text
//! y = x, with `before` and `after` more elements along each dimension; fewer where that is negative
//! grad_x = g padded with 0 by the opposite
//! ```

use smallvec::{SmallVec, smallvec};

use super::{Grads, Op, Outputs, Run, Scalar, apply};
use crate::error::{Error, Result};
use crate::tensor::layout::{row_major, show};
use crate::tensor::tape::Backward;
use crate::tensor::{Meta, Tensor, View};
use crate::with_element;

/// The greatest padding: sums of two, and with a size, are far from overflowing.
const MOST: u64 = 1 << 60;

/// Before and after, for each dimension.
type Padding = SmallVec<[(i64, i64); 4]>;

/// Inputs x and the constant.
#[derive(Clone, Debug)]
struct Pad {
    padding: Padding,
}

impl Pad {
    fn run<T: crate::element::Element>(&self, run: &Run<'_>, inputs: &[View<'_>], y: &View<'_>) {
        let (x, value) = (&inputs[0], inputs[1].slice::<T>()[0]);
        let (&width, outer) = y.shape().split_last().expect("checked to have dimensions");
        let (&input_width, input_outer) = x.shape().split_last().expect("as many as y");
        if width == 0 {
            return;
        }
        let strides = row_major(x.shape());
        let (before, _) = self.padding[outer.len()];
        let first = before.clamp(0, width as i64) as usize;
        let skipped = (-before).max(0) as usize;
        let copied = input_width.saturating_sub(skipped).min(width - first);
        let x = x.slice::<T>();
        let lines = run.team.share(y.numel() / width);
        // SAFETY: members have different lines.
        let y = unsafe { y.part::<T>(lines.start * width..lines.end * width) };
        for (line, y) in lines.zip(y.chunks_exact_mut(width)) {
            let (mut rest, mut from) = (line, Some(0));
            for d in (0..outer.len()).rev() {
                let at = (rest % outer[d]) as i64 - self.padding[d].0;
                rest /= outer[d];
                from = from
                    .filter(|_| (0..input_outer[d] as i64).contains(&at))
                    .map(|from| from + at as usize * strides[d] as usize);
            }
            match from {
                Some(from) if copied > 0 => {
                    y[..first].fill(value);
                    y[first..first + copied].copy_from_slice(&x[from + skipped..][..copied]);
                    y[first + copied..].fill(value);
                }
                _ => y.fill(value),
            }
        }
    }
}

impl Op for Pad {
    fn name(&self) -> &'static str {
        "pad"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let x = &inputs[0];
        let size = |(&n, &(before, after)): (&usize, &(i64, i64))| {
            let size = (n as i64).checked_add(before).and_then(|n| n.checked_add(after));
            size.and_then(|n| usize::try_from(n).ok()).ok_or_else(|| {
                let got = self.padding.iter().map(|(a, b)| format!("({a}, {b})")).collect::<Vec<_>>().join(", ");
                Error::value(format!("pad: expected padding that leaves at least 0 of {}; got {got}", show(&x.shape)))
            })
        };
        let shape = x.shape.iter().zip(&self.padding).map(size).collect::<Result<_>>()?;
        Ok(smallvec![Meta { shape, dtype: x.dtype }])
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        with_element!(outputs[0].dtype(), T => self.run::<T>(run, inputs, &outputs[0]));
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let padding = self.padding.iter().map(|&(before, after)| (-before, -after)).collect();
        let zero = Tensor::zeros(&[], cx.grad().dtype());
        Ok(smallvec![Some(apply(Self { padding }, &[cx.grad(), &zero])?), None])
    }

    fn work(&self, _inputs: &[Meta], outputs: &[Meta]) -> usize {
        outputs[0].numel() / 4
    }
}

/// x with `(before, after)` more elements of `value` along its last dimensions, or fewer where that is negative; the first
/// pair is for the last dimension.
pub fn pad(x: &Tensor, padding: &[(i64, i64)], value: Scalar) -> Result<Tensor> {
    if padding.len() > x.ndim() {
        let (most, got) = (x.ndim(), padding.len());
        return Err(Error::value(format!("pad: expected pairs for at most {most} dimensions; got {got}")));
    }
    if padding.is_empty() {
        return super::alias(x);
    }
    if value.promote(x.dtype()) != x.dtype() {
        return Err(Error::dtype(format!("pad: expected a value that {} can hold; got {value:?}", x.dtype())));
    }
    if let Some(&(before, after)) = padding.iter().find(|pair| pair.0.unsigned_abs().max(pair.1.unsigned_abs()) > MOST)
    {
        return Err(Error::value(format!("pad: expected padding in [-{MOST}, {MOST}]; got ({before}, {after})")));
    }
    let kept = std::iter::repeat_n((0, 0), x.ndim() - padding.len());
    let padding = kept.chain(padding.iter().rev().copied()).collect();
    apply(Pad { padding }, &[x, &value.tensor(x.dtype())])
}

#[cfg(test)]
mod tests;
