//! Powers of f32 with any exponent, by tables that stay in registers: a power is a product of what the parts of a number's
//! bits contribute, and an exponent in use is the same for all weights.

use crate::element::{DType, Float};
use crate::kernels::vector::{Vector, registers};

use super::{BLOCK, Row, SUMS, tree};

/// `factor · |w|^y` with the sign of w, by tables with 16 entries, to 5e-6 of it. It is 0 for w below 2⁻⁹⁵.
#[derive(Debug, PartialEq)]
pub struct Table<T> {
    /// For each eighth of the mantissas m, the polynomial in m that is `m^y`; and once more, `2^y` times it, for odd exponents.
    polynomials: [[T; 16]; 4],
    /// True if these are cubic: powers below 0 bend more than others.
    cubic: bool,
    /// Of bits 1 to 4 of the exponent.
    middle: [T; 16],
    /// Of the last three bits of the exponent, and the sign; with the factor.
    top: [T; 16],
    /// y less that of the tables, by two.
    squares: u32,
    /// The slope at ∞.
    at_infinity: T,
}

/// Offset of an f32's exponent field from its power of two.
const BIAS: f64 = 127.0;

impl<T: Float> Table<T> {
    /// For y above −1.
    pub fn new(factor: f64, y: f64) -> Self {
        // Of larger powers, parts would be infinite or 0 where their product is not.
        let squares = ((y - 2.0) / 2.0).ceil().max(0.0);
        let at_infinity = T::from_f64(factor * if y > 0.0 { f64::INFINITY } else { 0.0 });
        let y = y - 2.0 * squares;
        let two = |exponent: f64| power(2.0, y * exponent);
        let (mut polynomials, mut top) = ([[T::ZERO; 16]; 4], [T::ZERO; 16]);
        for i in 0..8 {
            let start = 1.0 + i as f64 / 8.0;
            let square = fit(y, start, QUADRATIC);
            let c = if y < 0.0 { fit(y, start, CUBIC) } else { [square[0], square[1], square[2], 0.0] };
            for (c, table) in c.into_iter().zip(&mut polynomials) {
                (table[i], table[8 + i]) = (T::from_f64(c), T::from_f64(two(1.0) * c));
            }
            let power = factor * two(32.0 * i as f64 + 16.0 - BIAS);
            // 0 has no exponent; a subnormal number has too few digits.
            if i > 0 && power.abs() > 1e-37 {
                (top[i], top[8 + i]) = (T::from_f64(power), T::from_f64(-power));
            }
        }
        let middle = std::array::from_fn(|i| T::from_f64(two(2.0 * i as f64 - 16.0)));
        Self { polynomials, cubic: y < 0.0, middle, top, squares: squares as u32, at_infinity }
    }

    #[inline(always)]
    unsafe fn of<V: Vector<Elem = T>>(&self, w: V) -> V {
        // SAFETY: what the trait asks of the caller.
        unsafe {
            let (m, [a, b, c, d]) = (w.mantissa(), &self.polynomials);
            let c = w.look_up::<20>(c);
            let c = if self.cubic { w.look_up::<20>(d).mul_add(m, c) } else { c };
            let mantissa = c.mul_add(m, w.look_up::<20>(b)).mul_add(m, w.look_up::<20>(a));
            let mut power = mantissa.mul(w.look_up::<28>(&self.top).mul(w.look_up::<24>(&self.middle)));
            let (mut left, mut square) = (self.squares, w.mul(w));
            while left > 0 {
                if left % 2 == 1 {
                    power = power.mul(square);
                }
                (left, square) = (left / 2, square.mul(square));
            }
            power
        }
    }
}

/// `x^y`
fn power(x: f64, y: f64) -> f64 {
    Float::exp(y * Float::ln(x))
}

/// Chebyshev's nodes.
const QUADRATIC: [f64; 3] = [-0.866_025_403_784_438_6, 0.0, 0.866_025_403_784_438_6];
const CUBIC: [f64; 4] =
    [-0.923_879_532_511_286_7, -0.382_683_432_365_089_8, 0.382_683_432_365_089_8, 0.923_879_532_511_286_7];

/// The polynomial in x that is `x^y` at nodes of the eighth from `start` on.
fn fit<const N: usize>(y: f64, start: f64, nodes: [f64; N]) -> [f64; N] {
    let x = nodes.map(|node| start + (1.0 + node) / 16.0);
    let mut differences = x.map(|x| power(x, y));
    for order in 1..N {
        for i in (order..N).rev() {
            differences[i] = (differences[i] - differences[i - 1]) / (x[i] - x[i - order]);
        }
    }
    // Newton's form, multiplied out from the inside.
    let mut c = [0.0; N];
    for (difference, x) in differences.into_iter().zip(x).rev() {
        for i in (1..N).rev() {
            c[i] = c[i - 1] - x * c[i];
        }
        c[0] = difference - x * c[0];
    }
    c
}

impl<T: Float> Row<T> for Table<f32> {
    fn sum(&self, w: &[T]) -> T {
        super::total(singles(w).chunks(BLOCK).map(|w| {
            let mut total = 0.0;
            sum(self, w, &mut total);
            T::from_f64(f64::from(total))
        }))
    }

    fn add_gradient(&self, w: &[T], grad: &mut [T]) -> T {
        let blocks = singles(w).chunks(BLOCK).zip(singles_mut(grad).chunks_mut(BLOCK));
        super::total(blocks.map(|(w, grad)| {
            let mut total = 0.0;
            add_gradient(self, w, grad, &mut total);
            // Tables have neither NaN nor ∞; a sum has, if an element has.
            if !f32::is_finite(total) {
                for (&w, grad) in w.iter().zip(grad).filter(|(w, _)| !f32::is_finite(**w)) {
                    *grad += if w.is_nan() { w } else { self.at_infinity.copysign(w) };
                }
            }
            T::from_f64(f64::from(total))
        }))
    }
}

/// A row of f32, as such.
fn singles<T: Float>(row: &[T]) -> &[f32] {
    assert_eq!(T::DTYPE, DType::F32);
    // SAFETY: the type is f32.
    unsafe { std::slice::from_raw_parts(row.as_ptr().cast(), row.len()) }
}

/// A row of f32, as such.
fn singles_mut<T: Float>(row: &mut [T]) -> &mut [f32] {
    assert_eq!(T::DTYPE, DType::F32);
    // SAFETY: the type is f32.
    unsafe { std::slice::from_raw_parts_mut(row.as_mut_ptr().cast(), row.len()) }
}

registers! {
    /// The sum of w by its powers.
    fn sum<T, V>(table: &Table<T>, w: &[T], total: &mut T) {
        let mut sums = [T::ZERO; SUMS];
        // SAFETY: registers and masks stay within the row.
        unsafe {
            for (start, sums) in (0..SUMS).step_by(V::LANES).zip(sums.chunks_exact_mut(V::LANES)) {
                let mut sum = V::zero();
                for at in (start..w.len()).step_by(SUMS) {
                    let w = V::load_part(w.as_ptr().add(at), V::first(V::LANES.min(w.len() - at)));
                    sum = w.mul_add(table.of(w), sum);
                }
                sum.store(sums.as_mut_ptr());
            }
        }
        *total = tree(sums);
    }

    /// The same, and adds the powers to a gradient.
    fn add_gradient<T, V>(table: &Table<T>, w: &[T], grad: &mut [T], total: &mut T) {
        assert_eq!(w.len(), grad.len(), "one gradient for each weight");
        let mut sums = [T::ZERO; SUMS];
        // SAFETY: registers and masks stay within the rows.
        unsafe {
            // As many as the smallest register needs.
            let mut lanes = [V::zero(); SUMS / 4];
            let lanes = &mut lanes[..SUMS / V::LANES];
            let whole = w.len() - w.len() % SUMS;
            for start in (0..whole).step_by(SUMS) {
                for (i, sum) in lanes.iter_mut().enumerate() {
                    let at = start + i * V::LANES;
                    let (w, grad) = (V::load(w.as_ptr().add(at)), grad.as_mut_ptr().add(at));
                    let slope = table.of(w);
                    *sum = w.mul_add(slope, *sum);
                    V::load(grad).add(slope).store(grad);
                }
            }
            for (at, sum) in (whole..w.len()).step_by(V::LANES).zip(lanes.iter_mut()) {
                let mask = V::first(V::LANES.min(w.len() - at));
                let (w, grad) = (V::load_part(w.as_ptr().add(at), mask), grad.as_mut_ptr().add(at));
                let slope = table.of(w);
                *sum = w.mul_add(slope, *sum);
                V::load_part(grad, mask).add(slope).store_part(grad, mask);
            }
            for (sum, to) in lanes.iter().zip(sums.chunks_exact_mut(V::LANES)) {
                sum.store(to.as_mut_ptr());
            }
        }
        *total = tree(sums);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{bits, on_all_levels};

    fn gradient(table: &Table<f32>, w: &[f32]) -> Vec<f32> {
        let mut grad = vec![0.0; w.len()];
        Row::add_gradient(table, w, &mut grad);
        grad
    }

    /// Over all that a table has, mantissas and exponents; powers that are no f32 are 0 or infinite.
    #[test]
    fn powers_are_those_of_doubles() {
        let w: Vec<f32> =
            (0..44_000).map(|i| (i as f32 / 200.0 - 94.9).exp2() * if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
        for (y, tolerance) in [
            (-0.97, 2e-6),
            (-0.5, 1e-6),
            (0.0, 5e-7),
            (0.25, 5e-6),
            (0.7, 5e-6),
            (1.0, 5e-7),
            (2.0, 5e-7),
            (2.7, 5e-6),
            (1.3, 5e-6),
            (6.3, 5e-6),
            (39.4, 8e-6),
        ] {
            for (&w, found) in w.iter().zip(gradient(&Table::new(0.7, y), &w)) {
                let exact = 0.7 * f64::from(w).abs().powf(y) * f64::from(w).signum();
                if (1e-30..1e37).contains(&exact.abs()) {
                    assert!((f64::from(found) / exact - 1.0).abs() <= tolerance, "{w} to {y}: {found}, not {exact}");
                } else if exact.abs() < 1e-30 {
                    assert!(found.abs() < 1.01e-30, "{w} to {y}: {found}");
                } else {
                    assert!(found.abs() > 9e36 && (found > 0.0) == (w > 0.0), "{w} to {y}: {found}");
                }
            }
        }
    }

    #[test]
    fn ends() {
        let w = [0.0, -0.0, 1e-40, 2.6e-29, f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
        for y in [-0.4, 0.25, 2.7] {
            let table = Table::new(0.7, y);
            let grad = gradient(&table, &w);
            assert!(grad[..3] == [0.0; 3] && grad[4].is_nan(), "{y}: {grad:?}");
            assert!(Row::sum(&table, &w[3..]).is_nan() && Row::sum(&table, &w[5..]) == f32::INFINITY, "{y}");
            if y > 0.0 {
                assert_eq!(grad[5..], [f32::INFINITY, f32::NEG_INFINITY], "{y}");
            } else {
                assert!(grad[3] > 1e11 && grad[5].abs() < 1e-14, "{y}: {grad:?}");
            }
        }
    }

    #[test]
    fn all_levels_give_the_same_bits() {
        let w: Vec<f32> = (0..1003).map(|i| (i as f32 - 500.0) / 37.0).collect();
        for y in [-0.3, 0.3, 1.0, 2.7] {
            let table = Table::new(0.7, y);
            on_all_levels(|| {
                [0, 1, 7, 64, 71, 1003].map(|n| {
                    let mut grad = w.clone();
                    let sum = Row::add_gradient(&table, &w[..n], &mut grad[..n]);
                    assert_eq!(sum, Row::sum(&table, &w[..n]), "{n} elements to {y}");
                    (sum.to_bits(), bits(&grad))
                })
            });
        }
    }
}
