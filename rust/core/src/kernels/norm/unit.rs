//! Sums over a unit: runs of samples that stay in the first cache.

use super::feature::Samples;
use crate::element::{Float, LANES};
use crate::kernels::reduce::{joined, opaque, trees};
use crate::kernels::vector::prefetch;

/// Virtual lanes: two of AVX-512's vectors of f32, so that an addition need not wait for the one before.
const WIDE: usize = 2 * LANES;
/// Elements that a lane takes in single precision, one after another.
const CHAIN: usize = 32;

/// N sums over a unit of triples of `x`, `y` and `z`, of which the first `FAR` come from memory.
#[inline(always)]
pub(super) fn sum_unit<const FAR: usize, const N: usize, T: Float>(
    [x, y, z]: [&[T]; 3],
    samples: Samples,
    step: impl Fn([T; N], [T; 3]) -> [T; N] + Copy,
) -> [T; N] {
    let mut acc = [[T::ZERO; WIDE]; N];
    let (mut totals, mut taken, mut cascaded) = ([[0.0; WIDE]; N], 0, false);
    for i in 0..samples.count {
        let runs = [samples.run(x, i), samples.run(y, i), samples.run(z, i)];
        for start in (0..samples.len).step_by(CHAIN * WIDE) {
            let end = samples.len.min(start + CHAIN * WIDE);
            let chain = (end - start).div_ceil(WIDE);
            if taken + chain > CHAIN {
                join_lanes(&mut totals, &mut acc);
                (taken, cascaded) = (0, true);
            }
            taken += chain;
            let [x, y, z] = [&runs[0][start..end], &runs[1][start..end], &runs[2][start..end]];
            let (xs, x_rest) = x.as_chunks::<WIDE>();
            let (ys, y_rest) = y.as_chunks::<WIDE>();
            let (zs, z_rest) = z.as_chunks::<WIDE>();
            let mut registers = acc;
            for ((x, y), z) in xs.iter().zip(ys).zip(zs) {
                for of in &[x, y, z][..FAR] {
                    fetch_next(&of[..LANES], samples.len);
                    fetch_next(&of[LANES..], samples.len);
                }
                for l in 0..WIDE {
                    let lane = step(std::array::from_fn(|n| registers[n][l]), [x[l], y[l], z[l]]);
                    for n in 0..N {
                        registers[n][l] = lane[n];
                    }
                }
            }
            acc = opaque(registers);
            let (xs, x_rest) = x_rest.as_chunks::<LANES>();
            let (ys, y_rest) = y_rest.as_chunks::<LANES>();
            let (zs, z_rest) = z_rest.as_chunks::<LANES>();
            for ((x, y), z) in xs.iter().zip(ys).zip(zs) {
                for l in 0..LANES {
                    let lane = step(std::array::from_fn(|n| acc[n][l]), [x[l], y[l], z[l]]);
                    for n in 0..N {
                        acc[n][l] = lane[n];
                    }
                }
                acc = opaque(acc);
            }
            let first = xs.len() * LANES;
            for (l, ((&x, &y), &z)) in (first..).zip(x_rest.iter().zip(y_rest).zip(z_rest)) {
                let lane = step(std::array::from_fn(|n| acc[n][l]), [x, y, z]);
                for n in 0..N {
                    acc[n][l] = lane[n];
                }
            }
        }
    }
    if !cascaded {
        return unit_trees(acc);
    }
    join_lanes(&mut totals, &mut acc);
    joined(unit_trees(totals))
}

/// The sums of `N` sets of lanes.
#[inline(always)]
fn unit_trees<T: Float, const N: usize>(acc: [[T; WIDE]; N]) -> [T; N] {
    // (`map` on an array would leave its closure a function of its own, without the caller's instructions.)
    let mut sums = [[T::ZERO; LANES]; N];
    for n in 0..N {
        for l in 0..LANES {
            sums[n][l] = acc[n][l] + acc[n][l + LANES];
        }
    }
    trees(sums)
}

/// Add lanes to their totals, and begin them anew.
#[inline(always)]
fn join_lanes<T: Float, const N: usize>(totals: &mut [[f64; WIDE]; N], acc: &mut [[T; WIDE]; N]) {
    for n in 0..N {
        for l in 0..WIDE {
            totals[n][l] += acc[n][l].to_f64();
        }
    }
    *acc = [[T::ZERO; WIDE]; N];
}

/// Fetch the same place in the run after this one, which the next unit has: hardware stops at the end of a page, which a plane
/// often is.
#[inline(always)]
pub(super) fn fetch_next<T>(x: &[T], len: usize) {
    prefetch(x.as_ptr().wrapping_add(len));
}
