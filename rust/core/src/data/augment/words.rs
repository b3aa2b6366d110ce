//! Numbers of a draw, one after another.

use crate::element::Float;
use crate::rng::{self, Draw};

/// Walks the blocks of a draw from one on.
#[derive(Debug)]
pub(super) struct Words {
    draw: Draw,
    block: u64,
    now: [u64; 4],
    used: usize,
}

impl Words {
    pub(super) fn new(draw: Draw, first_block: u64) -> Self {
        Self { draw, block: first_block, now: [0; 4], used: 4 }
    }

    pub(super) fn word(&mut self) -> u64 {
        if self.used == 4 {
            self.now = self.draw.block_wide(self.block);
            (self.block, self.used) = (self.block + 1, 0);
        }
        self.used += 1;
        self.now[self.used - 1]
    }

    /// A number of [0, 1): a word over 2³².
    pub(super) fn unit(&mut self) -> f64 {
        self.word() as f64 / 4_294_967_296.0
    }

    /// low + (high − low)·unit
    pub(super) fn between(&mut self, (low, high): (f64, f64)) -> f64 {
        Float::mul_add(high - low, self.unit(), low)
    }

    /// exp of a number between the logarithms: ratios and their inverses are equally likely.
    pub(super) fn ratio(&mut self, (low, high): (f64, f64)) -> f64 {
        Float::exp(self.between((Float::ln(low), Float::ln(high))))
    }

    /// An integer of 0..n, by multiplication: ⌊n·unit⌋.
    pub(super) fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.word()) * n as u128) >> 32) as usize
    }

    /// True if something of probability `p` happens: 0 and 1 are exact.
    pub(super) fn happens(&mut self, p: f64) -> bool {
        self.word() < threshold(p)
    }

    /// Four standard normal numbers, from a block of their own.
    pub(super) fn normals(&mut self) -> [f64; 4] {
        self.used = 4;
        self.block += 1;
        rng::normals(self.draw.block(self.block - 1))
    }

    /// From Beta(alpha, alpha): x / (x + y), x and y from Gamma(alpha, 1).
    pub(super) fn beta(&mut self, alpha: f64) -> f64 {
        let difference = self.ln_gamma(alpha) - self.ln_gamma(alpha);
        if difference > -700.0 { 1.0 / (1.0 + Float::exp(-difference)) } else { 0.0 }
    }

    /// The logarithm of a number from Gamma(shape, 1): a small shape makes numbers that are below all floats.
    ///
    /// Source: Marsaglia & Tsang 2000, <https://doi.org/10.1145/358407.358414>; its section 6 for shapes below 1.
    fn ln_gamma(&mut self, shape: f64) -> f64 {
        let (boost, shape) = if shape < 1.0 { (self.ln_unit() / shape, shape + 1.0) } else { (0.0, shape) };
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let z = self.normals()[0];
            let root = Float::mul_add(c, z, 1.0);
            let v = root * root * root;
            if v > 0.0 && self.ln_unit() < 0.5 * z * z + d * (1.0 - v + Float::ln(v)) {
                return Float::ln(d * v) + boost;
            }
        }
    }

    /// The logarithm of a number of (0, 1).
    fn ln_unit(&mut self) -> f64 {
        Float::ln((self.word() as f64 + 0.5) / 4_294_967_296.0)
    }
}

/// Words below it are a share `p` of all.
pub(super) fn threshold(p: f64) -> u64 {
    (p * 4_294_967_296.0).round() as u64
}
