//! A whole batch in memory of its own, for loops that no plan runs.

use super::{Mixed, Pipeline, Shape, Worker, mix_images, mix_labels, mix_targets, mix_weights};
use crate::element::Float;
use crate::error::{Error, Result};
use crate::kernels::image::Pixel;
use crate::reserve;
use crate::rng::Draw;
use crate::threads;

/// Numbers of output that are worth a thread.
const NUMBERS_PER_THREAD: usize = 20_000;

struct Written<S>(*mut S);
// SAFETY: members write disjoint parts.
unsafe impl<S> Sync for Written<S> {}

/// Call `each` with every image's number and its place in `out`, on as many threads as are worth it; `begin` makes what a
/// thread works with.
fn spread<S: Pixel, W>(
    n: usize,
    out: &mut [S],
    begin: impl Fn() -> W + Sync,
    each: impl Fn(usize, &mut [S], &mut W) + Sync,
) {
    let width = (out.len() / NUMBERS_PER_THREAD).clamp(1, threads::num_threads());
    let size = out.len().checked_div(n).unwrap_or(0);
    let written = Written(out.as_mut_ptr());
    // A number takes about a nanosecond.
    threads::region(width, out.len(), &|team| {
        let (written, mut work) = (&written, begin());
        for i in team.share(n) {
            // SAFETY: the n parts of `out` are disjoint, and so are the members' shares of them.
            let out = unsafe { std::slice::from_raw_parts_mut(written.0.add(i * size), size) };
            each(i, out, &mut work);
        }
    });
}

/// Change n images of shape `from`, and mix them; `out` has room for as many of the shape that they end up with.
/// Returns how they were mixed.
pub fn images<S: Pixel>(
    pipeline: &Pipeline,
    draw: Draw,
    n: usize,
    from: Shape,
    x: &[S],
    out: &mut [S],
) -> Result<Option<Mixed>> {
    let to = pipeline.shape(from)?;
    if x.len() != n * from.numel() || out.len() != n * to.numel() {
        return Err(Error::value(format!("augment: expected {n} images of {from:?}, and room for as many of {to:?}")));
    }
    let one = |i: usize, out: &mut [S], worker: &mut Worker<S::Compute>| {
        worker.run(pipeline, draw, i, from, &x[i * from.numel()..(i + 1) * from.numel()], out);
    };
    spread(n, out, Worker::default, one);
    let mixed = pipeline.mixed(draw, n, to).filter(|_| n > 0);
    if let Some(mixed) = mixed.as_ref().filter(|mixed| !mixed.partner.is_empty()) {
        let before = reserve::copied(out);
        spread(n, out, || (), |i, out, ()| mix_images(mixed, i, to, &before, out));
    }
    Ok(mixed)
}

/// Targets that are to be mixed.
#[derive(Clone, Copy, Debug)]
pub enum Soft<'a, T> {
    /// Class indices.
    Labels(&'a [i64]),
    /// Rows of numbers.
    Numbers(&'a [T]),
}

/// The targets of n images that were mixed: rows of probabilities, of labels; else rows of numbers.
pub fn targets<T: Float>(
    mixed: &Mixed,
    n: usize,
    y: Soft<'_, T>,
    weight: impl Fn(usize) -> f64,
    out: &mut [T],
) -> Result<()> {
    let width = out.len().checked_div(n).unwrap_or(0);
    if width == 0 {
        return Ok(());
    }
    for (i, out) in out.chunks_exact_mut(width).enumerate() {
        match y {
            Soft::Labels(labels) => mix_labels(mixed, i, |row| labels[row], &weight, out)?,
            Soft::Numbers(values) => {
                let row = |i: usize| &values[i * width..(i + 1) * width];
                mix_targets(mixed, row(i), row(mixed.partner(i)), out);
            }
        }
    }
    Ok(())
}

/// Weights of mixed images.
pub fn weights<T: Float>(mixed: &Mixed, weight: &[T], out: &mut [T]) {
    for (i, out) in out.iter_mut().enumerate() {
        *out = T::from_f64(mix_weights(mixed, i, |row| weight[row].to_f64()));
    }
}
