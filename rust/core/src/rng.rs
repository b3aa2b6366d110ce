//! Randomness by position: Philox4x32-10.
