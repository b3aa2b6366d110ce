//! Images with channels as lanes: pixels of planes (channel, row, column), turned to frames (row, column, channel) and back.

use super::vector::{Vector, registers};

/// Channels of a frame.
pub const LANES: usize = 16;

/// Rows and lanes exchanged, of as many rows as there are lanes. Interleaving the first half of the rows with the second makes a
/// row's highest bit its lanes' lowest and the lanes' highest the rows' lowest; as often as there are bits, that is a transpose.
///
/// # Safety
/// The machine has V's instruction set.
#[inline(always)]
unsafe fn turn<V: Vector>(mut rows: [V; LANES]) -> [V; LANES] {
    let half = V::LANES / 2;
    for _ in 0..V::LANES.ilog2() {
        let from = rows;
        for i in 0..half {
            // SAFETY: the caller's promise.
            (rows[2 * i], rows[2 * i + 1]) = unsafe { from[i].interleave(from[i + half]) };
        }
    }
    rows
}

/// Layout of pixels in a frame that is wider than their image: one after another, row by row.
#[derive(Clone, Copy)]
struct Place {
    at: usize,
    x: usize,
}

impl Place {
    #[inline(always)]
    fn step(&mut self, width: usize, cols: usize) {
        self.x += 1;
        self.at += LANES;
        if self.x == width {
            self.x = 0;
            self.at += (cols - width) * LANES;
        }
    }
}

/// Rows of an image, and how they lie.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Number of pixels.
    pub pixels: usize,
    /// Pixels of a row.
    pub width: usize,
    /// Pixels of a row of the frame.
    pub cols: usize,
    /// From one plane to the next.
    pub plane: usize,
    /// At most [`LANES`].
    pub channels: usize,
}

impl Layout {
    fn check(self, planes: usize, frame: usize) {
        let Self { pixels, width, cols, plane, channels } = self;
        assert!((1..=LANES).contains(&channels) && width > 0 && cols >= width && pixels > 0);
        assert!(planes >= (channels - 1) * plane + pixels);
        let last = pixels - 1;
        assert!(frame >= (last / width * cols + last % width + 1) * LANES);
    }
}

/// A square of `planes`: pixels from `first` on, those of the mask, of channels from `c` on.
#[inline(always)]
unsafe fn load<V: Vector>(planes: *const V::Elem, of: Layout, c: usize, first: usize, mask: V::Mask) -> [V; LANES] {
    // SAFETY: the caller's pixels of channels that exist; others are zeros.
    unsafe {
        let mut rows = [V::zero(); LANES];
        for (i, row) in rows.iter_mut().enumerate().take(V::LANES) {
            if c + i < of.channels {
                *row = V::load_part(planes.add((c + i) * of.plane + first), mask);
            }
        }
        rows
    }
}

/// Write a square to `planes`.
#[inline(always)]
unsafe fn store<V: Vector>(rows: [V; LANES], planes: *mut V::Elem, of: Layout, c: usize, first: usize, mask: V::Mask) {
    for (i, row) in rows.into_iter().enumerate().take(V::LANES) {
        if c + i < of.channels {
            // SAFETY: the caller's pixels, of channels that exist.
            unsafe { row.store_part(planes.add((c + i) * of.plane + first), mask) };
        }
    }
}

registers! {
    /// Turn some rows of planes to a frame. Channels that a register has beyond those become 0.
    pub(crate) fn to_frame<T, V>(planes: &[T], of: Layout, frame: &mut [T]) {
        of.check(planes.len(), frame.len());
        for c in (0..of.channels).step_by(V::LANES) {
            let mut place = Place { at: c, x: 0 };
            for first in (0..of.pixels).step_by(V::LANES) {
                let count = V::LANES.min(of.pixels - first);
                // SAFETY: as checked; this function's register is the machine's. Whole squares, which are to stay in registers,
                // apart from the last one.
                unsafe {
                    let mask = V::first(count);
                    if count == V::LANES {
                        for pixel in turn(load::<V>(planes.as_ptr(), of, c, first, mask)).into_iter().take(V::LANES) {
                            pixel.store(frame.as_mut_ptr().add(place.at));
                            place.step(of.width, of.cols);
                        }
                    } else {
                        for pixel in turn(load::<V>(planes.as_ptr(), of, c, first, mask)).into_iter().take(count) {
                            pixel.store(frame.as_mut_ptr().add(place.at));
                            place.step(of.width, of.cols);
                        }
                    }
                }
            }
        }
    }

    /// Turn a frame to some rows of planes.
    pub(crate) fn from_frame<T, V>(frame: &[T], of: Layout, planes: &mut [T]) {
        of.check(planes.len(), frame.len());
        for c in (0..of.channels).step_by(V::LANES) {
            let mut place = Place { at: c, x: 0 };
            for first in (0..of.pixels).step_by(V::LANES) {
                let count = V::LANES.min(of.pixels - first);
                // SAFETY: as in `to_frame`.
                unsafe {
                    let mask = V::first(count);
                    if count == V::LANES {
                        let mut pixels = [V::zero(); LANES];
                        for pixel in pixels.iter_mut().take(V::LANES) {
                            *pixel = V::load(frame.as_ptr().add(place.at));
                            place.step(of.width, of.cols);
                        }
                        store(turn(pixels), planes.as_mut_ptr(), of, c, first, mask);
                    } else {
                        let mut pixels = [V::zero(); LANES];
                        for pixel in pixels.iter_mut().take(count) {
                            *pixel = V::load(frame.as_ptr().add(place.at));
                            place.step(of.width, of.cols);
                        }
                        store(turn(pixels), planes.as_mut_ptr(), of, c, first, mask);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kernels::testing::{bits, on_all_levels, random};
    use crate::kernels::vector::Lanes;

    fn check<T: Lanes>(of: Layout) {
        let planes: Vec<T> = random((of.channels - 1) * of.plane + of.pixels, 3);
        let rows = of.pixels.div_ceil(of.width);
        let at = |p: usize, c: usize| (p / of.width * of.cols + p % of.width) * LANES + c;
        let found = on_all_levels(|| {
            let mut frame = vec![T::ONE; rows * of.cols * LANES];
            to_frame(&planes, of, &mut frame);
            let mut back = vec![T::ONE; planes.len()];
            from_frame(&frame, of, &mut back);
            let turned: Vec<T> = (0..of.channels)
                .flat_map(|c| (0..of.pixels).map(move |p| (p, c)))
                .map(|(p, c)| frame[at(p, c)])
                .collect();
            // Elements between rows stay.
            let between = (0..rows * of.cols).filter(|i| i % of.cols >= of.width);
            assert!(between.flat_map(|i| &frame[i * LANES..][..LANES]).all(|&x| x == T::ONE));
            [bits(&turned), bits(&back)]
        });
        let expected: Vec<T> =
            (0..of.channels).flat_map(|c| planes[c * of.plane..][..of.pixels].iter().copied()).collect();
        let mut back = vec![T::ONE; planes.len()];
        for c in 0..of.channels {
            back[c * of.plane..][..of.pixels].copy_from_slice(&planes[c * of.plane..][..of.pixels]);
        }
        assert_eq!(found, [bits(&expected), bits(&back)], "{of:?}");
    }

    proptest! {
        #[test]
        fn every_pixel_goes_to_its_place_and_back(
            channels in 1..=LANES, width in 1_usize..40, rows in 1_usize..4, beside in 0_usize..4, cut in 0_usize..9,
        ) {
            let pixels = (rows * width).saturating_sub(cut).max(1);
            let of = Layout { pixels, width, cols: width + beside, plane: pixels + cut, channels };
            check::<f32>(of);
            check::<f64>(of);
        }
    }
}
