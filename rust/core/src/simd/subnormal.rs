//! Subnormal numbers as zeros, while kernels run.
//!
//! A number below 1.2e-38 (f32) takes a processor a hundred times as long. Gradients of a net that has learned its batch
//! by heart get there, and a step then takes five times as long. JAX and TensorFlow flush them too; PyTorch does where
//! `torch.set_flush_denormal(True)` says so. Eager ops, plans and optimizers all do, so that their bits agree.
//!
//! x86 flushes a result that is below the smallest normal number after rounding, ARM one that is so before: of all exact
//! results, those within half a unit of the last place below 1.2e-38 differ.

/// Flushes while it lives, on this thread.
#[derive(Debug)]
pub struct Flush {
    before: control::Register,
}

impl Flush {
    /// Begin.
    #[inline]
    #[must_use]
    pub fn begin() -> Self {
        let before = control::get();
        if before & control::FLUSH != control::FLUSH {
            control::set(before | control::FLUSH);
        }
        Self { before }
    }
}

impl Drop for Flush {
    #[inline]
    fn drop(&mut self) {
        if self.before & control::FLUSH != control::FLUSH {
            control::set(self.before);
        }
    }
}

/// True if subnormals are zeros on this thread.
pub(super) fn is_flushing() -> bool {
    control::FLUSH != 0 && control::get() & control::FLUSH == control::FLUSH
}

/// MXCSR, which SSE and AVX obey.
#[cfg(target_arch = "x86_64")]
mod control {
    pub type Register = u32;

    /// Results that are subnormal become 0, and operands count as 0.
    pub const FLUSH: Register = 1 << 15 | 1 << 6;

    #[inline]
    pub fn get() -> Register {
        let mut value = 0_u32;
        // SAFETY: SSE is part of the target; the register is stored into a local.
        unsafe { std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut value, options(nostack, preserves_flags)) };
        value
    }

    #[inline]
    pub fn set(value: Register) {
        // SAFETY: as above; only the two bits of FLUSH ever change, which trap nothing and round nothing else.
        unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const value, options(nostack, preserves_flags)) };
    }
}

/// FPCR.
#[cfg(target_arch = "aarch64")]
mod control {
    pub type Register = u64;

    /// FZ: results that are subnormal become 0, and operands count as 0.
    pub const FLUSH: Register = 1 << 24;

    #[inline]
    pub fn get() -> Register {
        let value;
        // SAFETY: the register may be read in user mode.
        unsafe { std::arch::asm!("mrs {}, fpcr", out(reg) value, options(nostack, preserves_flags)) };
        value
    }

    #[inline]
    pub fn set(value: Register) {
        // SAFETY: the register may be written in user mode; only FZ ever changes, which traps nothing and rounds nothing else.
        unsafe { std::arch::asm!("msr fpcr, {}", in(reg) value, options(nostack, preserves_flags)) };
    }
}

/// Other processors: nothing is flushed.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod control {
    pub type Register = u32;

    pub const FLUSH: Register = 0;

    pub const fn get() -> Register {
        0
    }

    pub const fn set(_: Register) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnormals_are_zero_while_it_lives_and_no_longer() {
        let half = |x: f32| std::hint::black_box(x) * std::hint::black_box(0.5);
        let smallest = f32::MIN_POSITIVE;
        assert!(half(smallest) > 0.0);
        if control::FLUSH != 0 {
            let _flush = Flush::begin();
            assert_eq!(half(smallest).to_bits(), 0);
            assert!(half(2.0 * smallest) > 0.0);
            // Operands, too.
            assert_eq!((std::hint::black_box(f32::from_bits(1 << 22)) * std::hint::black_box(1e10_f32)).to_bits(), 0);
        }
        assert!(half(smallest) > 0.0);
    }
}
