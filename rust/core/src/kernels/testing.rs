//! Helpers of the kernels' tests.

use std::fmt::Debug;
use std::sync::Mutex;

use crate::element::Float;
use crate::simd::{self, Level};

/// Awkward lengths: around the lanes, past a chunk.
pub const SIZES: [usize; 10] = [0, 1, 3, 10, 15, 16, 17, 33, 100, 4097];

/// `len` numbers of [−2, 2), a pure function of `seed`.
pub fn random<T: Float>(len: usize, seed: u64) -> Vec<T> {
    (0..len as u64)
        .map(|i| {
            let mut z = (seed << 40 | i).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            T::from_f64(((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 51) as f64 - 2.0)
        })
        .collect()
}

/// The step of a sweep over many arguments: 40 times as long where an emulated processor, which sets `FASTNN_EMULATED`, would take
/// many minutes.
pub fn sweep_step(step: usize) -> usize {
    if std::env::var_os("FASTNN_EMULATED").is_some() { 40 * step + 1 } else { step }
}

/// The bits of every element.
pub fn bits<T: Float>(x: &[T]) -> Vec<u64> {
    x.iter().map(|x| x.to_f64().to_bits()).collect()
}

/// The same numbers in double precision.
pub fn wide<T: Float>(x: &[T]) -> Vec<f64> {
    x.iter().map(|x| x.to_f64()).collect()
}

/// The `cols × rows` transpose of the `rows × cols` matrix `x`.
pub fn transposed<T: Float>(x: &[T], rows: usize, cols: usize) -> Vec<T> {
    (0..rows * cols).map(|i| x[i % rows * cols + i / rows]).collect()
}

/// Fail unless every `a` is within `tol · max(1, |b|)` of its `b`, or both are NaN or the same infinity.
#[track_caller]
pub fn assert_close<T: Float>(a: &[T], b: &[f64], tol: f64) {
    assert_eq!(a.len(), b.len());
    for (i, (a, &b)) in a.iter().zip(b).enumerate() {
        let a = a.to_f64();
        let same = a == b || (a.is_nan() && b.is_nan());
        assert!(same || (a - b).abs() <= tol * b.abs().max(1.0), "element {i}: {a} is not {b}");
    }
}

/// The precision that a kernel of `T` is held to.
pub fn tolerance<T: Float>() -> f64 {
    if T::DTYPE.size() == 4 { 2e-5 } else { 1e-12 }
}

/// The result of `f`, after checking that every level gives the same.
#[track_caller]
pub fn on_all_levels<R: PartialEq + Debug>(f: impl Fn() -> R) -> R {
    static LOCK: Mutex<()> = Mutex::new(());
    let guard = LOCK.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let before = simd::level();
    let results = [Level::Portable, Level::Avx2, Level::Avx512].map(|level| {
        simd::set_level(level);
        f()
    });
    simd::set_level(before);
    drop(guard);
    let [portable, avx2, avx512] = results;
    assert_eq!(portable, avx2, "AVX2 differs");
    assert_eq!(portable, avx512, "AVX-512 differs");
    portable
}
