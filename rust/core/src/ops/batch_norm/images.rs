//! Batch normalization of images `(n, c, h, w)` and series `(n, c, l)`, with what follows it in residual nets:
//!
//! ```text
//! y = then(weight · x̂ + bias + added)       then: nothing, or max(·, 0);  added: nothing, or as large as x
//! g = grad_y where y > 0, else 0            grad_added = g;  grad_x, grad_weight, grad_bias of g as in the parent module
//! ```
//!
//! A member takes whole channels, which stay in its cache between the pass over their moments and the one that writes them.
//! Where there are too few channels for that, members share the units of [`planes`](crate::kernels::norm::planes), and meet in
//! between.

use std::ops::Range;

use crate::element::Float;
use crate::kernels::norm::planes::{Forward, Gradient, Planes};
use crate::kernels::norm::{Affine, Moments, Scaling};
use crate::tensor::View;
use crate::threads::Team;

/// From so many channels on, members take whole ones, whatever their number.
const MANY: usize = 64;

/// (n, c, *) as planes, if it is of images.
pub fn planes(x: &[usize]) -> Option<Planes> {
    let l = x[2..].iter().product::<usize>();
    (l > 1).then_some(Planes { n: x[0], c: x[1], l })
}

/// The shape of the numbers that units leave for all members, if x has few channels.
pub fn scratch(x: &[usize]) -> Option<[usize; 3]> {
    let planes = planes(x).filter(|p| p.c > 0 && p.c < MANY && p.n > 0)?;
    (planes.units() > 1).then(|| [planes.c, planes.units(), 2])
}

/// Whether members of this team share units rather than channels: if one would have much more to do than the others.
fn by_units(team: &Team, planes: Planes, scratch: Option<&View<'_>>) -> bool {
    scratch.is_some() && planes.c.div_ceil(team.size()) * team.size() * 4 > planes.c * 5
}

/// The output from the start of a unit on.
///
/// # Safety
/// Members must write different units, and read none that another writes.
#[allow(clippy::mut_from_ref)]
unsafe fn from<'a, T: Float>(y: &View<'a>, start: usize) -> &'a mut [T] {
    // SAFETY: inside the output. The slices of members overlap, but no element is accessed through two of them.
    unsafe { std::slice::from_raw_parts_mut(y.ptr::<T>().add(start), y.numel() - start) }
}

/// Call `f` with each channel and those of its units that are among `mine`, counted over all channels.
fn each_channel(planes: Planes, mine: Range<usize>, mut f: impl FnMut(usize, Range<usize>)) {
    let units = planes.units();
    let mut start = mine.start;
    while start < mine.end {
        let (j, end) = (start / units, mine.end.min((start / units + 1) * units));
        f(j, start - j * units..end - j * units);
        start = end;
    }
}

/// Leave the numbers of units in the scratch.
fn keep_units<T: Float>(planes: Planes, scratch: &View<'_>, mine: Range<usize>, unit: impl Fn(usize, usize) -> [T; 2]) {
    // SAFETY: members have different units.
    let out = unsafe { scratch.part::<T>(2 * mine.start..2 * mine.end) };
    for (at, out) in mine.zip(out.as_chunks_mut::<2>().0) {
        *out = unit(at / planes.units(), at % planes.units());
    }
}

/// The numbers of a channel's units.
fn units_of<T: Float>(scratch: &View<'_>, planes: Planes, j: usize) -> impl Iterator<Item = [T; 2]> {
    let (all, units) = (scratch.slice::<T>().as_chunks::<2>().0, planes.units());
    all[j * units..(j + 1) * units].iter().copied()
}

/// Normalize by the batch's statistics. Outputs y, mean, `inv_std`, maybe the scratch; `update` gets each channel's moments once.
pub fn train<T: Float>(
    team: &Team,
    planes: Planes,
    forward: &Forward<'_, T>,
    affine: Affine<'_, T>,
    eps: T,
    outputs: &[View<'_>],
    update: impl Fn(usize, Moments<T>),
) {
    let keep = |j: usize, moments: Moments<T>| {
        // SAFETY: one member comes here for a channel.
        unsafe {
            outputs[1].part::<T>(j..j + 1)[0] = moments.mean;
            outputs[2].part::<T>(j..j + 1)[0] = moments.inv_std;
        }
        update(j, moments);
    };
    let apply = |j: usize, moments: Moments<T>, units: Range<usize>| {
        for u in units {
            // SAFETY: members have different units.
            let y = unsafe { from::<T>(&outputs[0], planes.start(j, u)) };
            forward.apply(planes, (j, u), [moments.mean, moments.inv_std], affine, y);
        }
    };
    let unit = |j: usize, u: usize| forward.unit(planes, j, u);
    let scratch = outputs.get(3);
    if let Some(scratch) = scratch.filter(|_| by_units(team, planes, scratch)) {
        let mine = team.share(planes.c * planes.units());
        keep_units(planes, scratch, mine.clone(), unit);
        team.barrier();
        each_channel(planes, mine, |j, units| {
            let moments = Forward::moments(planes, eps, units_of(scratch, planes, j));
            if units.start == 0 {
                keep(j, moments);
            }
            apply(j, moments, units);
        });
        return;
    }
    for j in team.share(planes.c) {
        let units = 0..planes.units();
        let moments = match scratch {
            Some(scratch) => {
                keep_units(planes, scratch, j * units.end..(j + 1) * units.end, unit);
                Forward::moments(planes, eps, units_of(scratch, planes, j))
            }
            None => Forward::moments(planes, eps, units.clone().map(|u| unit(j, u))),
        };
        keep(j, moments);
        apply(j, moments, units);
    }
}

/// Normalize by given statistics.
pub fn evaluate<T: Float>(
    team: &Team,
    planes: Planes,
    forward: &Forward<'_, T>,
    scaling: Scaling<'_, T>,
    bias: &[T],
    y: &View<'_>,
) {
    let affine = Affine { weight: scaling.weight, bias };
    each_channel(planes, team.share(planes.c * planes.units()), |j, units| {
        for u in units {
            // SAFETY: members have different units.
            let y = unsafe { from::<T>(y, planes.start(j, u)) };
            forward.apply(planes, (j, u), [scaling.mean[j], scaling.inv_std[j]], affine, y);
        }
    });
}

/// The gradients: outputs `grad_x`, `grad_weight`, `grad_bias`, then that of what was added, if it is wanted, and the scratch.
/// Statistics may be fixed.
pub fn gradients<T: Float>(
    team: &Team,
    planes: Planes,
    gradient: &Gradient<'_, T>,
    (scaling, fixed): (Scaling<'_, T>, bool),
    outputs: &[View<'_>],
    added: Option<&View<'_>>,
    scratch: Option<&View<'_>>,
) {
    let keep = |j: usize, [weight, bias]: [T; 2]| {
        // SAFETY: one member comes here for a channel.
        unsafe {
            outputs[1].part::<T>(j..j + 1)[0] = weight;
            outputs[2].part::<T>(j..j + 1)[0] = bias;
        }
    };
    let unit = |j: usize, u: usize| gradient.unit(planes, (j, u), scaling.mean[j]);
    let apply = |j: usize, slope, units: Range<usize>| {
        for u in units {
            let start = planes.start(j, u);
            // SAFETY: members have different units.
            let (dx, added) = unsafe { (from::<T>(&outputs[0], start), added.map(|added| from::<T>(added, start))) };
            gradient.apply(planes, (j, u), slope, dx, added);
        }
    };
    if let Some(scratch) = scratch.filter(|_| by_units(team, planes, scratch)) {
        let mine = team.share(planes.c * planes.units());
        keep_units(planes, scratch, mine.clone(), unit);
        team.barrier();
        each_channel(planes, mine, |j, units| {
            let (slope, grads) = Gradient::slope(planes, j, scaling, fixed, units_of(scratch, planes, j));
            if units.start == 0 {
                keep(j, grads);
            }
            apply(j, slope, units);
        });
        return;
    }
    for j in team.share(planes.c) {
        let units = 0..planes.units();
        let (slope, grads) = match scratch {
            Some(scratch) => {
                keep_units(planes, scratch, j * units.end..(j + 1) * units.end, unit);
                Gradient::slope(planes, j, scaling, fixed, units_of(scratch, planes, j))
            }
            None => Gradient::slope(planes, j, scaling, fixed, units.clone().map(|u| unit(j, u))),
        };
        keep(j, grads);
        apply(j, slope, units);
    }
}
