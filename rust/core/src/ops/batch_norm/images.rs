//! Batch normalization of images `(n, c, h, w)` and series `(n, c, l)`, with what follows it in residual nets:
//!
//! ```text
//! y = then(weight · x̂ + bias + added)       then: nothing, or max(·, 0);  added: nothing, or as large as x
//! g = grad_y where y > 0, else 0            grad_added = g;  grad_x, grad_weight, grad_bias of g as in the parent module
//! ```
//!
//! Members share channels, or where these are few the units of [`planes`](crate::kernels::norm::planes), and then they meet in
//! between. Either way a member walks memory from front to back for the sums, and to write it begins with the last image, which is
//! still in its cache; within an image it goes upwards, as hardware fetches ahead. (A channel alone is not kept there: its planes lie a power of two apart in many nets, and
//! so in the same few sets of the cache.)

use std::ops::Range;

use crate::element::Float;
use crate::kernels::norm::planes::{Forward, Gradient, PlaneSlope, Planes};
use crate::kernels::norm::{Affine, Moments, Scaling};
use crate::tensor::View;
use crate::threads::Team;

/// (n, c, *) as planes, if it is of images.
pub fn planes(x: &[usize]) -> Option<Planes> {
    let l = x[2..].iter().product::<usize>();
    (l > 1).then_some(Planes { n: x[0], c: x[1], l })
}

/// The shape of the numbers that units leave.
pub fn scratch(x: &[usize]) -> Option<[usize; 3]> {
    let planes = planes(x)?;
    (planes.n > 0 && planes.c > 0).then(|| [planes.c, planes.units(), 2])
}

/// Share of one member: these units of these channels.
struct Share {
    channels: Range<usize>,
    units: Range<usize>,
    /// True if other members have other units of the same channels.
    meets: bool,
}

impl Share {
    fn new(team: &Team, planes: Planes) -> Self {
        let (size, units) = (team.size(), planes.units());
        // The work of the member that has most, times size: channels need no meeting, so they may be a quarter worse.
        let by_channels = planes.c.div_ceil(size) * units;
        let by_units = units.div_ceil(size) * planes.c;
        if size > 1 && by_channels * 4 > by_units * 5 {
            return Self { channels: 0..planes.c, units: team.share(units), meets: true };
        }
        Self { channels: team.share(planes.c), units: 0..units, meets: false }
    }

    /// Call `f` with each channel and unit, in the order in which they lie in memory.
    fn forwards(&self, mut f: impl FnMut(usize, usize)) {
        for u in self.units.clone() {
            for j in self.channels.clone() {
                f(j, u);
            }
        }
    }

    /// Likewise, the last image first.
    fn backwards(&self, mut f: impl FnMut(usize, usize)) {
        for u in self.units.clone().rev() {
            for j in self.channels.clone() {
                f(j, u);
            }
        }
    }

    /// Leave the numbers of all units in the scratch, and wait for the others' where they are needed.
    fn sum<T: Float>(&self, team: &Team, planes: Planes, scratch: &View<'_>, unit: impl Fn(usize, usize) -> [T; 2]) {
        let units = planes.units();
        self.forwards(|j, u| {
            let at = 2 * (j * units + u);
            // SAFETY: members have different units.
            unsafe { scratch.part::<T>(at..at + 2) }.copy_from_slice(&unit(j, u));
        });
        if self.meets {
            team.barrier();
        }
    }

    /// True if this member writes what there is once for a channel.
    fn keeps(&self, team: &Team) -> bool {
        !self.meets || team.rank() == 0
    }
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

/// The numbers of a channel's units.
fn units_of<T: Float>(scratch: &View<'_>, planes: Planes, j: usize) -> impl Iterator<Item = [T; 2]> {
    let (all, units) = (scratch.slice::<T>().as_chunks::<2>().0, planes.units());
    all[j * units..(j + 1) * units].iter().copied()
}

/// Normalize by the batch's statistics. Outputs y, mean, `inv_std`, and the scratch; `update` gets each channel's moments once.
pub fn train<T: Float>(
    team: &Team,
    planes: Planes,
    forward: &Forward<'_, T>,
    affine: Affine<'_, T>,
    eps: T,
    outputs: &[View<'_>],
    update: impl Fn(usize, Moments<T>),
) {
    let (share, scratch) = (Share::new(team, planes), &outputs[3]);
    share.sum(team, planes, scratch, |j, u| forward.unit(planes, j, u));
    let moments = |j: usize| Forward::moments(planes, eps, units_of(scratch, planes, j));
    let moments: Vec<Moments<T>> = share.channels.clone().map(moments).collect();
    if share.keeps(team) {
        for (j, &moments) in share.channels.clone().zip(&moments) {
            // SAFETY: one member comes here for a channel.
            unsafe {
                outputs[1].part::<T>(j..j + 1)[0] = moments.mean;
                outputs[2].part::<T>(j..j + 1)[0] = moments.inv_std;
            }
            update(j, moments);
        }
    }
    share.backwards(|j, u| {
        let Moments { mean, inv_std, .. } = moments[j - share.channels.start];
        // SAFETY: members have different units.
        let y = unsafe { from::<T>(&outputs[0], planes.start(j, u)) };
        forward.apply(planes, (j, u), [mean, inv_std], affine, y);
    });
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
    Share::new(team, planes).forwards(|j, u| {
        // SAFETY: members have different units.
        let y = unsafe { from::<T>(y, planes.start(j, u)) };
        forward.apply(planes, (j, u), [scaling.mean[j], scaling.inv_std[j]], affine, y);
    });
}

/// The gradients: outputs `grad_x`, `grad_weight`, `grad_bias`, and the scratch; then that of what was added, if it is wanted.
/// Statistics may be fixed.
pub fn gradients<T: Float>(
    team: &Team,
    planes: Planes,
    gradient: &Gradient<'_, T>,
    (scaling, fixed): (Scaling<'_, T>, bool),
    outputs: &[View<'_>],
    added: Option<&View<'_>>,
) {
    let (share, scratch) = (Share::new(team, planes), &outputs[3]);
    share.sum(team, planes, scratch, |j, u| gradient.unit(planes, (j, u), scaling));
    let slope = |j: usize| Gradient::slope(planes, j, scaling, fixed, units_of(scratch, planes, j));
    let slopes: Vec<(PlaneSlope<T>, [T; 2])> = share.channels.clone().map(slope).collect();
    if share.keeps(team) {
        for (j, &(_, [weight, bias])) in share.channels.clone().zip(&slopes) {
            // SAFETY: one member comes here for a channel.
            unsafe {
                outputs[1].part::<T>(j..j + 1)[0] = weight;
                outputs[2].part::<T>(j..j + 1)[0] = bias;
            }
        }
    }
    // If dx takes dy's memory, dy is read there.
    let over = std::ptr::eq(gradient.dy.as_ptr(), outputs[0].ptr::<T>());
    let gradient = Gradient { dy: if over { &[] } else { gradient.dy }, ..*gradient };
    share.backwards(|j, u| {
        let start = planes.start(j, u);
        // SAFETY: members have different units.
        let (dx, added) = unsafe { (from::<T>(&outputs[0], start), added.map(|added| from::<T>(added, start))) };
        gradient.apply(planes, (j, u), (scaling, slopes[j - share.channels.start].0), dx, added);
    });
}
