//! Geometry of a convolution's windows: forward, and reversed for the gradient of its input.

use smallvec::SmallVec;

use crate::error::Result;
use crate::kernels::conv::{Axis, Frame};
use crate::reserve;
use crate::tensor::layout::show;
use crate::tensor::room;

/// Stride, padding, dilation and groups of a convolution over (h, w).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// From one window to the next.
    pub stride: [usize; 2],
    /// Zeros before the first row and column, and after the last.
    pub padding: [(usize, usize); 2],
    /// From one tap of the window to the next.
    pub dilation: [usize; 2],
    /// Channels are convolved in so many groups, each by itself.
    pub groups: usize,
}

/// Windows over one plane that share a set of taps: all of a convolution's, or of the gradient of its input those whose
/// positions leave the same remainder by the stride.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub y: Axis,
    pub x: Axis,
    /// Numbers of these taps in the kernel.
    pub taps: (SmallVec<[usize; 8]>, SmallVec<[usize; 8]>),
    /// The part's first position in the result.
    pub start: (usize, usize),
}

impl Part {
    pub fn taps(&self) -> usize {
        self.y.offsets.len() * self.x.offsets.len()
    }
}

/// Movement of a window over planes, in parts whose results interleave.
#[derive(Clone, Debug)]
pub(super) struct Slide {
    pub parts: SmallVec<[Part; 1]>,
    pub frame: Frame,
    /// The size of a plane that is read, and of one that is written.
    pub input: (usize, usize),
    pub output: (usize, usize),
    /// From one position of a part to the next in the result.
    pub spread: (usize, usize),
}

impl Settings {
    /// Refuse settings out of range; `dims` is how many dimensions the user sees.
    pub(super) fn check(&self, op: &str, dims: usize) -> Result<()> {
        let first = 2 - dims;
        let shown = |values: &[usize; 2]| if dims == 1 { values[1].to_string() } else { show(values) };
        for (name, values) in [("stride", &self.stride), ("dilation", &self.dilation)] {
            room::settings(op, name, &values[first..], 1, || shown(values))?;
        }
        for (before, after) in &self.padding[first..] {
            room::settings(op, "padding", &[*before, *after], 0, || before.max(after).to_string())?;
        }
        Ok(())
    }

    /// Refuse windows that reach over more than can be counted, of `channels` images.
    pub(super) fn check_reach(
        &self,
        op: &str,
        channels: usize,
        positions: [usize; 2],
        kernel: [usize; 2],
    ) -> Result<()> {
        let reach = [0, 1].map(|d| {
            let steps = positions[d].saturating_sub(1);
            steps.saturating_mul(self.stride[d]).saturating_add(self.span(d, kernel[d]))
        });
        room::countable(op, &[channels, reach[0], reach[1]]).map(|_| ())
    }

    /// The size of a padded image along dimension `d`, as far as it can be counted.
    pub(super) fn padded(&self, d: usize, size: usize) -> usize {
        size.saturating_add(self.padding[d].0).saturating_add(self.padding[d].1)
    }

    /// Reach of a kernel along dimension `d`, saturating.
    pub(super) fn span(&self, d: usize, kernel: usize) -> usize {
        kernel.saturating_sub(1).saturating_mul(self.dilation[d]).saturating_add(1)
    }

    /// Positions of the window along dimension `d` of this size; none if the kernel is larger than the padded image.
    #[must_use]
    pub fn positions(&self, d: usize, size: usize, kernel: usize) -> Option<usize> {
        let padded = size.checked_add(self.padding[d].0)?.checked_add(self.padding[d].1)?;
        let span = kernel.checked_sub(1)?.checked_mul(self.dilation[d])?.checked_add(1)?;
        Some(padded.checked_sub(span)? / self.stride[d] + 1)
    }

    fn forward_axis(&self, d: usize, size: usize, kernel: usize) -> Axis {
        let output = self.positions(d, size, kernel).expect("the shape rule has checked it");
        let offsets = (0..kernel).map(|t| (t * self.dilation[d]) as isize - self.padding[d].0 as isize).collect();
        // One position takes no step: that of a huge one would make a huge frame.
        let step = if output == 1 { 1 } else { self.stride[d] };
        Axis { input: size, output, step, offsets }
    }

    /// The windows of the convolution itself.
    pub(super) fn forward(&self, image: (usize, usize), kernel: (usize, usize)) -> Slide {
        let (y, x) = (self.forward_axis(0, image.0, kernel.0), self.forward_axis(1, image.1, kernel.1));
        let output = (y.output, x.output);
        let part = Part { y, x, taps: ((0..kernel.0).collect(), (0..kernel.1).collect()), start: (0, 0) };
        Slide::new(std::iter::once(part).collect(), image, output, (1, 1))
    }

    /// Along one dimension, for every remainder by the stride, the positions of the image with this remainder, as a window over
    /// the result, and its taps.
    fn turned_axes(&self, d: usize, size: usize, kernel: usize) -> Vec<(Axis, SmallVec<[usize; 8]>, usize)> {
        let (stride, output) = (self.stride[d], self.forward_axis(d, size, kernel).output);
        reserve::collected((0..stride.min(size)).map(|start| {
            // Position `start + stride · j` of the image was seen by tap t of window j + offset.
            let offset = |t: usize| (start + self.padding[d].0) as isize - (t * self.dilation[d]) as isize;
            let taps: SmallVec<[usize; 8]> =
                (0..kernel).filter(|&t| offset(t).rem_euclid(stride as isize) == 0).collect();
            let offsets = taps.iter().map(|&t| offset(t).div_euclid(stride as isize)).collect();
            (Axis { input: output, output: (size - start).div_ceil(stride), step: 1, offsets }, taps, start)
        }))
    }

    /// The windows over the gradient of the result that make the gradient of the image.
    pub(super) fn turned(&self, image: (usize, usize), kernel: (usize, usize)) -> Slide {
        let (ys, xs) = (self.turned_axes(0, image.0, kernel.0), self.turned_axes(1, image.1, kernel.1));
        let mut parts = SmallVec::new();
        let count = ys.len().saturating_mul(xs.len());
        if count > 1 && parts.try_reserve_exact(count).is_err() {
            reserve::exhausted(count.saturating_mul(size_of::<Part>()));
        }
        for (y, taps_y, start_y) in &ys {
            for (x, taps_x, start_x) in &xs {
                let taps = (taps_y.clone(), taps_x.clone());
                parts.push(Part { y: y.clone(), x: x.clone(), taps, start: (*start_y, *start_x) });
            }
        }
        let positions = |d, size, kernel| self.forward_axis(d, size, kernel).output;
        let input = (positions(0, image.0, kernel.0), positions(1, image.1, kernel.1));
        Slide::new(parts, input, image, (self.stride[0], self.stride[1]))
    }
}

impl Slide {
    fn new(parts: SmallVec<[Part; 1]>, input: (usize, usize), output: (usize, usize), spread: (usize, usize)) -> Self {
        let frame = Frame::around(parts.iter().map(|part| (&part.y, &part.x)), input);
        Self { parts, frame, input, output, spread }
    }

    /// True if planes are columns as they are.
    pub fn is_identity(&self) -> bool {
        matches!(&self.parts[..], [part] if part.y.is_identity() && part.x.is_identity())
    }

    /// Elements of a plane that is read.
    pub fn plane(&self) -> usize {
        self.input.0 * self.input.1
    }
}
