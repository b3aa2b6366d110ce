//! Reductions of integers and masks along an axis. Their order does not matter.

use crate::kernels::reduce::Axis;

/// Fold the entries of `axis` with `step`, each run from `start`.
pub fn fold_axis<T: Copy>(x: &[T], axis: Axis, start: T, step: impl Fn(T, T) -> T, out: &mut [T]) {
    debug_assert_eq!(out.len(), axis.results());
    out.fill(start);
    for o in 0..axis.outer {
        let out = &mut out[o * axis.inner..][..axis.inner];
        for i in 0..axis.len {
            let x = &x[o * axis.block() + i * axis.stride..][..axis.inner];
            for (out, &x) in out.iter_mut().zip(x) {
                *out = step(*out, x);
            }
        }
    }
}

/// The first positions of the entries that none `beats`, along `axis`, which is not empty.
pub fn arg_axis<T: Copy>(x: &[T], axis: Axis, beats: impl Fn(T, T) -> bool, out: &mut [i64]) {
    debug_assert_eq!(out.len(), axis.results());
    for (n, out) in out.iter_mut().enumerate() {
        let x = &x[n / axis.inner * axis.block() + n % axis.inner..];
        let mut best = 0;
        for i in 1..axis.len {
            if beats(x[i * axis.stride], x[best * axis.stride]) {
                best = i;
            }
        }
        *out = best as i64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_padding_of_an_axis_are_kept_apart() {
        // Two blocks of three runs of two elements, each run padded by one.
        let x: Vec<i64> = (0..18).map(|i| i * i % 7).collect();
        let axis = Axis { outer: 2, len: 3, inner: 2, stride: 3 };
        let (mut sum, mut at) = ([0; 4], [0; 4]);
        fold_axis(&x, axis, 0, |a, x| a + x, &mut sum);
        arg_axis(&x, axis, |a, b| a > b, &mut at);
        let entry = |o: usize, k: usize, i: usize| x[o * 9 + i * 3 + k];
        for (n, (o, k)) in [(0, 0), (0, 1), (1, 0), (1, 1)].into_iter().enumerate() {
            assert_eq!(sum[n], (0..3).map(|i| entry(o, k, i)).sum::<i64>());
            assert!((0..3).all(|i| entry(o, k, i) <= entry(o, k, at[n] as usize)));
        }
    }
}
