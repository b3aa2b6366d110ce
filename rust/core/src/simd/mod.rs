//! The instruction-set level, found once at run time, and `simd!`, which compiles a kernel for each level.
//!
//! One binary holds every level. `FASTNN_ISA=portable|avx2|avx512` forces one that the machine has. All levels give the
//! same bits: kernels use only correctly rounded operations in an order that their source fixes.

pub mod fused;
mod subnormal;

use std::sync::atomic::{AtomicU8, Ordering};

pub use subnormal::Flush;

/// Instruction sets, lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// The compiler's target: SSE2 on x86-64, NEON on 64-bit ARM.
    Portable = 1,
    /// x86-64 with AVX2 and FMA.
    Avx2 = 2,
    /// x86-64 with AVX-512 F, BW, DQ and VL.
    Avx512 = 3,
}

static LEVEL: AtomicU8 = AtomicU8::new(0);

/// The level in force.
#[inline]
#[must_use]
pub fn level() -> Level {
    match LEVEL.load(Ordering::Relaxed) {
        1 => Level::Portable,
        2 => Level::Avx2,
        3 => Level::Avx512,
        _ => find_level(),
    }
}

#[cold]
fn find_level() -> Level {
    let best = best_level();
    let wanted = match std::env::var("FASTNN_ISA").as_deref() {
        Ok("portable") => Level::Portable,
        Ok("avx2") => Level::Avx2,
        _ => Level::Avx512,
    };
    let found = wanted.min(best);
    LEVEL.store(found as u8, Ordering::Relaxed);
    found
}

/// Features of [`Level::Avx2`] that this processor lacks, by the names that Linux has for them in `/proc/cpuinfo`.
#[must_use]
pub fn lacking() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    {
        let found = [
            ("avx2", is_x86_feature_detected!("avx2")),
            ("fma", is_x86_feature_detected!("fma")),
            ("bmi2", is_x86_feature_detected!("bmi2")),
        ];
        found.into_iter().filter(|&(_, there)| !there).map(|(name, _)| name).collect()
    }
    #[cfg(not(target_arch = "x86_64"))]
    Vec::new()
}

/// The highest level that this machine has.
#[must_use]
pub fn best_level() -> Level {
    #[cfg(target_arch = "x86_64")]
    {
        let avx2 = lacking().is_empty();
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        if avx2 && avx512 {
            return Level::Avx512;
        }
        if avx2 {
            return Level::Avx2;
        }
    }
    Level::Portable
}

/// Force a level, if the machine has it; returns the one now in force. For tests, which compare the levels' bits.
pub fn set_level(wanted: Level) -> Level {
    let found = wanted.min(best_level());
    LEVEL.store(found as u8, Ordering::Relaxed);
    found
}

/// Compile a kernel once for each [`Level`] and choose at run time.
///
/// The body must be plain loops that the compiler can vectorize, calling only `#[inline(always)]` functions. At most one
/// type parameter.
///
/// ```
/// fastnn_core::simd! {
///     /// y ← a·x + y
///     pub fn axpy<T: fastnn_core::Float>(a: T, x: &[T], y: &mut [T]) {
///         for (y, &x) in y.iter_mut().zip(x) {
///             *y = a.mul_add(x, *y);
///         }
///     }
/// }
/// let mut y = [1.0_f32, 2.0];
/// axpy(2.0, &[3.0, 4.0], &mut y);
/// assert_eq!(y, [7.0, 10.0]);
/// ```
#[macro_export]
macro_rules! simd {
    ($(
        $(#[$meta:meta])*
        $vis:vis fn $name:ident $(<$t:ident : $bound:path $(, $u:ident : $ubound:path)?>)? ($($arg:ident : $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block
    )+) => {$(
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        #[inline]
        $vis fn $name $(<$t: $bound $(, $u: $ubound)?>)? ($($arg: $ty),*) $(-> $ret)? {
            #[allow(clippy::too_many_arguments)]
            #[inline(always)]
            fn body $(<$t: $bound $(, $u: $ubound)?>)? ($($arg: $ty),*) $(-> $ret)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[allow(clippy::too_many_arguments)]
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
                fn avx512 $(<$t: $bound $(, $u: $ubound)?>)? ($($arg: $ty),*) $(-> $ret)? {
                    $crate::simd::fused::assume(true);
                    body($($arg),*)
                }
                #[allow(clippy::too_many_arguments)]
                #[target_feature(enable = "avx2,fma,bmi2")]
                fn avx2 $(<$t: $bound $(, $u: $ubound)?>)? ($($arg: $ty),*) $(-> $ret)? {
                    $crate::simd::fused::assume(true);
                    body($($arg),*)
                }
                match $crate::simd::level() {
                    // SAFETY: the level is never above what the machine was found to have.
                    $crate::simd::Level::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: as above.
                    $crate::simd::Level::Avx2 => return unsafe { avx2($($arg),*) },
                    $crate::simd::Level::Portable => {}
                }
            }
            $crate::simd::fused::assume(false);
            body($($arg),*)
        }
    )+};
}
