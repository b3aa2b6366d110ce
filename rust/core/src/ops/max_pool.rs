//! Max pooling: over regular, adaptive and fractional windows.
//!
//! ```text
//! y[i] = max of window i       the first of equal ones in row-major order, the last NaN if there is one
//! grad_x[j] = Σ g[i] over the windows i that j has won, in their order
//! ```
//! What backward needs is which element won. Within a regular window of at most 256 elements a byte says so, in a buffer
//! of dtype bool that nobody else sees; elsewhere it is the place in the plane, which is what the user sees as `indices`.
//!
//! Source of fractional windows: Graham 2015, <https://arxiv.org/abs/1412.6071>, section 2, with one u per plane and axis.

use std::sync::Arc;

use smallvec::smallvec;

use super::pooling::{Pooling, adaptive, check_image, check_output, plane, with_plane};
use super::{Grads, Op, Outputs, Run, Saves, apply, apply_many, contiguous, shape_error};
use crate::element::{DType, Float};
use crate::error::{Error, Result};
use crate::kernels::max_pool::{
    MOST_OFFSETS, Ranges, Rows, Windows, max_ranges, max_windows, max_windows_backward, pick_windows,
};
use crate::kernels::position::{read_ref, within};
use crate::reserve;
use crate::tensor::layout::show;
use crate::tensor::tape::Backward;
use crate::tensor::{Meta, Tensor, View, room};
use crate::with_float;

/// Elements of a window.
#[derive(Clone, Copy, Debug)]
enum Regions {
    /// Regular windows.
    Regular(Windows),
    /// As many as asked for, as even as they can be.
    Adaptive,
    /// Windows of one size at random places, given by two numbers of [0, 1) a plane: for its columns, and for its rows.
    Fractional([usize; 2]),
}

/// Input x, and for fractional windows their samples; outputs y and the winners.
#[derive(Clone, Copy, Debug)]
struct MaxPool {
    name: &'static str,
    dims: usize,
    regions: Regions,
    output: [usize; 2],
    /// True if winners are bytes.
    bytes: bool,
}

/// The windows of a fractional layer along an axis.
fn fractional<T: Float>(sample: T, n: usize, out: usize, kernel: usize) -> Vec<(usize, usize)> {
    let last = n - kernel;
    let place = |i: usize| {
        if i + 1 == out {
            return last;
        }
        let alpha = T::from_f64(last as f64) / T::from_f64((out - 1) as f64);
        let at = |x: T| (x * alpha).to_f64() as usize;
        (at(T::from_f64(i as f64) + sample) - at(sample)).min(last)
    };
    reserve::collected((0..out).map(|i| (place(i), place(i) + kernel)))
}

impl MaxPool {
    /// Windows of plane `i` that are not regular ones of bytes.
    fn ranges<T: Float>(&self, i: usize, input: [usize; 2], samples: Option<&View<'_>>) -> [Ranges; 2] {
        [0, 1].map(|axis| {
            let (n, out) = (input[axis], self.output[axis]);
            match self.regions {
                Regions::Regular(w) => {
                    let step = w.dilation[axis];
                    let range = |i: usize| {
                        let (first, end) = w.inside(axis, i);
                        let at = |k: usize| i * w.stride[axis] + k * step - w.padding[axis];
                        (at(first), at(end - 1) + 1)
                    };
                    Ranges { of: reserve::collected((0..out).map(range)), step }
                }
                Regions::Adaptive => Ranges { of: reserve::collected((0..out).map(|i| adaptive(i, n, out))), step: 1 },
                Regions::Fractional(kernel) => {
                    let samples = samples.expect("fractional windows have samples").slice::<T>();
                    Ranges { of: fractional(samples[2 * i + 1 - axis], n, out, kernel[axis]), step: 1 }
                }
            }
        })
    }

    /// That nobody has changed the winners, which are the user's too.
    fn check_winners(&self, winners: &Tensor, [height, width]: [usize; 2]) -> Result<()> {
        let (winners, size) = (contiguous(winners)?, height * width);
        match winners.view().slice::<i64>().iter().map(read_ref).find(|&at| within(at, size).is_none()) {
            Some(at) => Err(Error::index(format!("{}: expected indices in [0, {size}); got {at}", self.name))),
            None => Ok(()),
        }
    }

    fn by_ranges<T: Float>(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let x = &inputs[0];
        let input = plane(x.shape(), self.dims);
        let (size, out) = (input[0] * input[1], self.output[0] * self.output[1]);
        let mut ranges = None;
        for i in run.team.share(x.numel() / size) {
            // SAFETY: members have different planes.
            let (y, at) = unsafe {
                (outputs[0].part::<T>(i * out..(i + 1) * out), outputs[1].part::<i64>(i * out..(i + 1) * out))
            };
            let mine = matches!(self.regions, Regions::Fractional(_)) || ranges.is_none();
            if mine {
                ranges = Some(self.ranges::<T>(i, input, inputs.get(1)));
            }
            let [rows, cols] = ranges.as_ref().expect("made above");
            max_ranges(&x.slice::<T>()[i * size..(i + 1) * size], input[1], rows, cols, y, at);
        }
    }
}

impl Op for MaxPool {
    fn name(&self) -> &'static str {
        self.name
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let shape = with_plane(&inputs[0].shape, self.dims, self.output);
        let winners = if self.bytes { DType::Bool } else { DType::I64 };
        let y = Meta { shape: shape.clone(), dtype: inputs[0].dtype };
        Ok([y, Meta { shape, dtype: winners }].into_iter().collect())
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        if inputs[0].numel() == 0 {
            return;
        }
        with_float!(inputs[0].dtype(), T => match self.regions {
            Regions::Regular(w) if self.bytes => {
                let planes = run.team.share(inputs[0].numel() / w.plane());
                let out = planes.start * w.outputs()..planes.end * w.outputs();
                // SAFETY: members have different planes.
                let (y, at) = unsafe { (outputs[0].part::<T>(out.clone()), outputs[1].part::<u8>(out)) };
                let x = &inputs[0].slice::<T>()[planes.start * w.plane()..planes.end * w.plane()];
                max_windows(x, &mut Rows::new(&w), y, at);
            }
            _ => self.by_ranges::<T>(run, inputs, outputs),
        });
    }

    fn saves(&self) -> Saves {
        Saves::outputs(0b10)
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let x = &cx.input_meta[0];
        if !self.bytes {
            self.check_winners(cx.output(1), plane(&x.shape, self.dims))?;
        }
        let windows = Winners { pool: *self, input: x.shape.clone(), pick: false };
        let mut grads: Grads = smallvec![Some(apply(windows, &[cx.grad(), cx.output(1)])?)];
        grads.resize(cx.input_meta.len(), None);
        Ok(grads)
    }

    fn work(&self, inputs: &[Meta], _outputs: &[Meta]) -> usize {
        inputs[0].numel()
    }
}

/// Values moved from windows to the elements that won them, or from these to the windows. Inputs: values of the windows, or
/// of the elements; the winners.
#[derive(Clone, Debug)]
struct Winners {
    pool: MaxPool,
    /// Shape of the elements.
    input: crate::tensor::Dims,
    /// True if values go from elements to windows.
    pick: bool,
}

impl Op for Winners {
    fn name(&self) -> &'static str {
        "max_pool_winners"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let shape = if self.pick { inputs[1].shape.clone() } else { self.input.clone() };
        Ok(smallvec![Meta { shape, dtype: inputs[0].dtype }])
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        if outputs[0].numel() == 0 {
            return;
        }
        let [height, width] = plane(&self.input, self.pool.dims);
        let (size, out) = (height * width, self.pool.output[0] * self.pool.output[1]);
        let planes = run.team.share(inputs[1].numel() / out);
        let (elements, windows) = (planes.start * size..planes.end * size, planes.start * out..planes.end * out);
        let (from, to) = if self.pick { (elements, windows.clone()) } else { (windows.clone(), elements) };
        with_float!(inputs[0].dtype(), T => {
            let from = &inputs[0].slice::<T>()[from];
            // SAFETY: members have different planes.
            let to = unsafe { outputs[0].part::<T>(to) };
            match self.pool.regions {
                Regions::Regular(w) if self.pool.bytes => {
                    let at = &inputs[1].slice::<u8>()[windows];
                    if self.pick { pick_windows(from, at, &w, to) } else { max_windows_backward(from, at, &w, to) }
                }
                _ => {
                    let at = inputs[1].slice::<i64>()[windows].chunks_exact(out);
                    if self.pick {
                        for ((x, y), at) in from.chunks_exact(size).zip(to.chunks_exact_mut(out)).zip(at) {
                            for (y, at) in y.iter_mut().zip(at.iter().map(read_ref)) {
                                *y = within(at, x.len()).map_or(T::ZERO, |at| x[at]);
                            }
                        }
                    } else {
                        to.fill(0.0);
                        for ((g, gx), at) in from.chunks_exact(out).zip(to.chunks_exact_mut(size)).zip(at) {
                            for (g, at) in g.iter().zip(at.iter().map(read_ref)) {
                                if let Some(at) = within(at, gx.len()) {
                                    gx[at] += g;
                                }
                            }
                        }
                    }
                }
            }
        });
    }

    fn saves(&self) -> Saves {
        Saves::inputs(0b10)
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let back = Self { pick: !self.pick, ..self.clone() };
        Ok(smallvec![Some(apply(back, &[cx.grad(), cx.input(1)])?), None])
    }
}

fn both(op: MaxPool, inputs: &[&Tensor]) -> Result<(Tensor, Tensor)> {
    let mut outputs = apply_many(Arc::new(op), inputs)?;
    let winners = outputs.swap_remove(1);
    Ok((outputs.swap_remove(0), winners))
}

fn regular(x: &Tensor, pooling: &Pooling) -> Result<MaxPool> {
    let output = pooling.output(&x.meta())?;
    let Pooling { name, dims, kernel, stride, padding, dilation, .. } = *pooling;
    let input = plane(x.shape(), dims);
    // One window takes no step: that of a huge one would make a huge row.
    let stride = [0, 1].map(|axis| if output[axis] == 1 { 1 } else { stride[axis] });
    let windows = Windows { input, output, kernel, stride, padding, dilation };
    let empty = |axis: usize| (0..output[axis]).any(|i| windows.inside(axis, i).0 >= windows.inside(axis, i).1);
    if empty(0) || empty(1) {
        let expected = "input that every window has an element of";
        return Err(shape_error(name, expected, x.shape()));
    }
    Ok(MaxPool { name, dims, regions: Regions::Regular(windows), output, bytes: false })
}

/// The greatest of each window.
pub fn max_pool(x: &Tensor, pooling: &Pooling) -> Result<Tensor> {
    let pool = regular(x, pooling)?;
    // Rows are dealt out as far as a window reaches, which with `ceil_mode` may be far out of the image.
    let input = plane(x.shape(), pooling.dims);
    let fits = |axis: usize| {
        (pooling.kernel[axis] - 1) * pooling.dilation[axis]
            < input[axis] + 2 * pooling.padding[axis] + pooling.kernel[axis]
    };
    let bytes = pooling.kernel[0] * pooling.kernel[1] <= MOST_OFFSETS && fits(0) && fits(1);
    Ok(both(MaxPool { bytes, ..pool }, &[x])?.0)
}

/// The greatest of each window, and its place in the plane.
pub fn max_pool_with_indices(x: &Tensor, pooling: &Pooling) -> Result<(Tensor, Tensor)> {
    both(regular(x, pooling)?, &[x])
}

/// The greatest of each of as many windows as asked for, as even as they can be; and its place in the plane.
pub fn adaptive_max_pool(x: &Tensor, name: &'static str, dims: usize, output: [usize; 2]) -> Result<(Tensor, Tensor)> {
    check_image(name, &x.meta(), dims)?;
    check_output(name, &x.meta(), output, dims)?;
    both(MaxPool { name, dims, regions: Regions::Adaptive, output, bytes: false }, &[x])
}

/// The greatest of each of as many windows of one size as asked for, and its place in the plane. `samples` is
/// `(n, c, 2)`: numbers of [0, 1] that say how a plane's columns, and then how its rows, are divided.
///
/// ```text
/// window i begins at ⌊α·(i + u)⌋ − ⌊α·u⌋, α = (size − kernel) / (out − 1);  the last at size − kernel
/// ```
pub fn fractional_max_pool(
    x: &Tensor,
    kernel: [usize; 2],
    output: [usize; 2],
    samples: &Tensor,
) -> Result<(Tensor, Tensor)> {
    let name = "fractional_max_pool2d";
    check_image(name, &x.meta(), 2)?;
    check_output(name, &x.meta(), output, 2)?;
    room::settings(name, "kernel_size", &kernel, 1, || show(&kernel))?;
    let input = plane(x.shape(), 2);
    if (0..2).any(|axis| (kernel[axis] - 1).saturating_add(output[axis]) > input[axis]) {
        let (kernel, output) = (show(&kernel), show(&output));
        let expected =
            format!("input of at least kernel_size {kernel} + output_size {output} - 1 in its last 2 dimensions");
        return Err(shape_error(name, &expected, x.shape()));
    }
    let n = if x.ndim() == 4 { x.shape()[0] } else { 1 };
    let expected = [n, x.shape()[x.ndim() - 3], 2];
    if samples.shape() != expected {
        return Err(shape_error(name, &format!("_random_samples of shape {}", show(&expected)), samples.shape()));
    }
    if samples.dtype() != x.dtype() {
        let (x, got) = (x.dtype(), samples.dtype());
        return Err(Error::dtype(format!("{name}: expected _random_samples of dtype {x}; got {got}")));
    }
    let op = MaxPool { name, dims: 2, regions: Regions::Fractional(kernel), output, bytes: false };
    both(op, &[x, &samples.detach()])
}

#[cfg(test)]
mod tests;
