//! Subnormal numbers as zeros, while kernels run.
//!
//! A number below 1.2e-38 (f32) takes a processor a hundred times as long. Gradients of a net that has learnt its batch
//! by heart get there, and a step then takes five times as long. JAX and TensorFlow flush them too; PyTorch does where
//! `torch.set_flush_denormal(True)` says so. Eager ops, plans and optimizers all do, so that their bits agree.

/// Flushes while it lives, on this thread.
#[derive(Debug)]
pub struct Flush {
    #[cfg(target_arch = "x86_64")]
    before: u32,
}

/// Results that are subnormal become 0, and operands count as 0.
#[cfg(target_arch = "x86_64")]
const FLUSH: u32 = 1 << 15 | 1 << 6;

impl Flush {
    /// Begin.
    #[inline]
    #[must_use]
    pub fn begin() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            let before = control();
            if before & FLUSH != FLUSH {
                set_control(before | FLUSH);
            }
            Self { before }
        }
        #[cfg(not(target_arch = "x86_64"))]
        Self {}
    }
}

impl Drop for Flush {
    #[inline]
    fn drop(&mut self) {
        #[cfg(target_arch = "x86_64")]
        if self.before & FLUSH != FLUSH {
            set_control(self.before);
        }
    }
}

/// Whether subnormals are zeros on this thread.
#[cfg(target_arch = "x86_64")]
pub(super) fn is_flushing() -> bool {
    control() & FLUSH == FLUSH
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn control() -> u32 {
    let mut value = 0_u32;
    // SAFETY: SSE is part of the target; the register is stored into a local.
    unsafe { std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut value, options(nostack, preserves_flags)) };
    value
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn set_control(value: u32) {
    // SAFETY: as above; only the two bits of FLUSH ever change, which trap nothing and round nothing else.
    unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const value, options(nostack, preserves_flags)) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnormals_are_zero_while_it_lives_and_no_longer() {
        let half = |x: f32| std::hint::black_box(x) * std::hint::black_box(0.5);
        let smallest = f32::MIN_POSITIVE;
        assert!(half(smallest) > 0.0);
        if cfg!(target_arch = "x86_64") {
            let _flush = Flush::begin();
            assert_eq!(half(smallest).to_bits(), 0);
            assert!(half(2.0 * smallest) > 0.0);
        }
        assert!(half(smallest) > 0.0);
    }
}
