//! Every product against one chain of multiply-adds per element and chunk, bit for bit, at every level.

use std::sync::{Mutex, PoisonError};

use proptest::prelude::*;

use super::*;
use crate::simd::{Level, best_level, set_level};

/// The level is one for the whole process: tests that set it take turns.
static LEVEL: Mutex<()> = Mutex::new(());

fn at_all_levels(check: impl Fn(Level)) {
    let _turn = LEVEL.lock().unwrap_or_else(PoisonError::into_inner);
    for level in [Level::Portable, Level::Avx2, Level::Avx512] {
        if set_level(level) == level {
            check(level);
        }
    }
    set_level(best_level());
}

/// Values whose sums round, so that another order of additions shows.
fn numbers<T: Float>(len: usize, seed: u64) -> Vec<T> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            T::from_f64((state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0)
        })
        .collect()
}

/// Layout of an operand.
#[derive(Clone, Copy, Debug)]
enum Order {
    /// Rows one after the other, with as many elements between them.
    Rows(usize),
    /// Columns one after the other.
    Columns(usize),
    /// Neither stride is 1.
    Sparse,
}

impl Order {
    fn strides(self, rows: usize, cols: usize) -> (usize, usize) {
        match self {
            Self::Rows(gap) => (cols + gap, 1),
            Self::Columns(gap) => (1, rows + gap),
            Self::Sparse => (3 * cols + 1, 3),
        }
    }
}

const ORDERS: [Order; 5] = [Order::Rows(0), Order::Rows(3), Order::Columns(0), Order::Columns(5), Order::Sparse];

fn extent(rows: usize, cols: usize, (row, col): (usize, usize)) -> usize {
    if rows == 0 || cols == 0 { 0 } else { (rows - 1) * row + (cols - 1) * col + 1 }
}

struct Case<T> {
    size: (usize, usize, usize),
    a: Vec<T>,
    a_strides: (usize, usize),
    b: Vec<T>,
    b_strides: (usize, usize),
    c: Vec<T>,
    ldc: usize,
    accumulate: bool,
}

impl<T: Float> Case<T> {
    fn new(size: (usize, usize, usize), orders: (Order, Order), gap: usize, accumulate: bool) -> Self {
        let (m, n, k) = size;
        let (a_strides, b_strides) = (orders.0.strides(m, k), orders.1.strides(k, n));
        Self {
            size,
            a: numbers(extent(m, k, a_strides), 1),
            a_strides,
            b: numbers(extent(k, n, b_strides), 2),
            b_strides,
            c: numbers(m * (n + gap), 3),
            ldc: n + gap,
            accumulate,
        }
    }

    /// The promise, word for word.
    fn expected(&self) -> Vec<T> {
        let (m, n, k) = self.size;
        let mut c = self.c.clone();
        for i in 0..m {
            for j in 0..n {
                let chunks = blocks::chunks(k);
                let sums: Vec<T> = (0..chunks)
                    .map(|chunk| {
                        blocks::part(k, chunks, chunk).fold(T::ZERO, |sum, p| {
                            let a = self.a[i * self.a_strides.0 + p * self.a_strides.1];
                            a.mul_add(self.b[p * self.b_strides.0 + j * self.b_strides.1], sum)
                        })
                    })
                    .collect();
                let mut total = self.accumulate.then_some(c[i * self.ldc + j]);
                for (number, group) in sums.chunks(blocks::GROUP).enumerate() {
                    let start = if number == 0 { total } else { None };
                    let sum = group.iter().fold(start, |sum, &chunk| Some(sum.map_or(chunk, |sum| sum + chunk)));
                    let sum = sum.expect("a chunk");
                    total = Some(if number == 0 { sum } else { total.expect("a first group") + sum });
                }
                c[i * self.ldc + j] = total.expect("a chunk");
            }
        }
        c
    }

    fn product(&self, c: &mut [T]) -> Product<T> {
        let (m, n, k) = self.size;
        let a = operand("A", (m, k), &self.a, self.a_strides);
        let b = operand("B", (k, n), &self.b, self.b_strides);
        Product { m, n, k, a, b, c: c.as_mut_ptr(), ldc: self.ldc, accumulate: self.accumulate, one_block: false }
    }

    fn check(&self, expected: &[T], level: Level) {
        let mut c = self.c.clone();
        let (a, b) = (&self.a, &self.b);
        matmul(self.size, a, self.a_strides, b, self.b_strides, &mut c, self.ldc, self.accumulate);
        // Elements between C's rows are compared too: nobody may write them.
        assert!(c == expected, "{:?} A {:?} B {:?} {level:?}", self.size, self.a_strides, self.b_strides);
    }
}

fn check<T: Float>(size: (usize, usize, usize), orders: (Order, Order), accumulate: bool) {
    let case = Case::<T>::new(size, orders, 2, accumulate);
    let expected = case.expected();
    at_all_levels(|level| case.check(&expected, level));
}

/// Around every border: none, one, vectors of 4, 8 and 16, tiles of 6, 12, 14 and 16 rows, panels, blocks, chunks.
const SIZES: [usize; 14] = [0, 1, 2, 3, 7, 15, 16, 17, 31, 33, 63, 64, 100, 130];

#[test]
fn deeper_than_a_group_of_chunks() {
    let deep = 400 * blocks::GROUP + 1;
    assert!(blocks::chunks(deep) > blocks::GROUP, "one group only");
    for (size, orders) in [
        ((3, 5, deep), (Order::Rows(0), Order::Rows(3))),
        ((1, 33, 2 * deep + 700), (Order::Columns(0), Order::Rows(0))),
        ((7, 1, deep), (Order::Rows(0), Order::Columns(5))),
        ((130, 65, deep + 399), (Order::Columns(5), Order::Rows(0))),
        ((17, 18, deep), (Order::Sparse, Order::Sparse)),
    ] {
        for accumulate in [false, true] {
            check::<f32>(size, orders, accumulate);
        }
    }
    check::<f64>((9, 11, deep), (Order::Columns(0), Order::Rows(0)), true);
}

#[test]
fn a_million_steps_stay_accurate() {
    // All of one sign and one size, the worst case of additions that round; a single chain is off by 1e-3.
    let k = 1_000_000;
    let (a, b) = (vec![1.0 + 1.0 / 3.0_f32; k], vec![1.1_f32; k]);
    let mut c = [0.0_f32];
    matmul((1, 1, k), &a, (k, 1), &b, (1, 1), &mut c, 1, false);
    let exact = f64::from(a[0]) * f64::from(b[0]) * k as f64;
    let off = (f64::from(c[0]) - exact).abs() / exact;
    assert!(off < 1e-5, "{off}");
}

#[test]
fn all_sizes() {
    // Each pair of sizes once for every two of the three dimensions, the third one walking along.
    for (i, &x) in SIZES.iter().enumerate() {
        for (j, &y) in SIZES.iter().enumerate() {
            let z = SIZES[(i * 5 + j * 3) % SIZES.len()];
            let orders = (ORDERS[(i + j) % 5], ORDERS[(i + 2 * j) % 5]);
            let accumulate = (i + j) % 3 == 0;
            for size in [(x, y, z), (x, z, y), (z, x, y)] {
                check::<f32>(size, orders, accumulate);
                check::<f64>(size, orders, accumulate);
            }
        }
    }
}

#[test]
fn all_orders() {
    for a in ORDERS {
        for b in ORDERS {
            for size in [(33, 100, 63), (130, 17, 64), (5, 46, 3), (64, 33, 1)] {
                for accumulate in [false, true] {
                    check::<f32>(size, (a, b), accumulate);
                    check::<f64>(size, (a, b), accumulate);
                }
            }
        }
    }
}

/// More than one chunk of the inner dimension, and a B that no longer fits in L2.
#[test]
fn deep_and_wide() {
    for orders in [(Order::Rows(0), Order::Rows(0)), (Order::Columns(0), Order::Columns(0))] {
        check::<f32>((130, 49, 1000), orders, false);
        check::<f64>((17, 100, 771), orders, true);
        check::<f32>((230, 600, 500), orders, false);
    }
}

#[test]
fn rows_and_columns_that_wait_are_untouched() {
    for (orders, size) in [
        ((Order::Rows(0), Order::Rows(1)), (130, 100, 64)),
        ((Order::Columns(2), Order::Columns(0)), (64, 47, 70)),
        ((Order::Rows(1), Order::Rows(0)), (300, 9, 5)),
        ((Order::Rows(1), Order::Rows(0)), (300, 9, 0)),
    ] {
        let (m, n, _) = size;
        let case = Case::<f32>::new(size, orders, 3, false);
        let complete = case.expected();
        for (rows, cols) in [(0..m, 0..n), (3..m - 1, 5..n), (1..2, 0..n - 1), (7..7, 0..n), (2..20, 4..4)] {
            at_all_levels(|_| {
                let mut c = case.c.clone();
                let p = case.product(&mut c);
                let (start, ldc) = (p.c, p.ldc);
                let mut next = rows.start;
                let mut on_rows = |done: Range<usize>| {
                    assert_eq!(done.start, next, "blocks follow each other");
                    assert!(done.len() <= ROW_BLOCK && !done.is_empty());
                    for r in done.clone() {
                        // SAFETY: inside of C, which the product leaves alone while it calls.
                        let row = unsafe { std::slice::from_raw_parts(start.add(r * ldc + cols.start), cols.len()) };
                        assert_eq!(row, &complete[r * ldc + cols.start..][..cols.len()], "row {r} is complete");
                    }
                    next = done.end;
                };
                // SAFETY: the case holds all elements.
                unsafe { block(&p, rows.clone(), cols.clone(), &mut on_rows) };
                assert_eq!(next, rows.end, "all rows were announced");
                for (i, (&got, &old)) in c.iter().zip(&case.c).enumerate() {
                    if !(rows.contains(&(i / ldc)) && cols.contains(&(i % ldc))) {
                        assert_eq!(got, old, "element {i} is outside of the block");
                    }
                }
            });
        }
    }
}

/// The callback of one product computes another, whose packed operands must not be the first one's.
#[test]
fn a_product_inside_of_a_product() {
    let orders = (Order::Columns(0), Order::Columns(0));
    let outer = Case::<f32>::new((200, 70, 90), orders, 0, false);
    let inner = Case::<f32>::new((99, 80, 70), orders, 0, false);
    let expected = inner.expected();
    let mut c = outer.c.clone();
    let p = outer.product(&mut c);
    // SAFETY: the case holds all elements.
    unsafe { block(&p, 0..200, 0..70, &mut |_| inner.check(&expected, simd::level())) };
    assert_eq!(c, outer.expected());
}

#[test]
fn a_team_of_one_computes_all() {
    for size in [(40, 20, 30), (20, 90, 30)] {
        let case = Case::<f64>::new(size, (Order::Rows(0), Order::Rows(0)), 1, true);
        let mut c = case.c.clone();
        let p = case.product(&mut c);
        // SAFETY: the case holds all elements.
        unsafe { run(&Team::SOLO, &p) };
        assert_eq!(c, case.expected());
    }
}

#[test]
fn blocks_may_be_written_over_each_other() {
    for size in [(300, 40, 70), (5, 3, 0), (130, 33, 400)] {
        let case = Case::<f32>::new(size, (Order::Rows(0), Order::Rows(0)), 0, false);
        let (m, n, _) = size;
        let expected = case.expected();
        at_all_levels(|_| {
            let mut scratch = vec![7.0; ROW_BLOCK * n];
            let mut unused = case.c.clone();
            let p = Product { c: scratch.as_mut_ptr(), ldc: n, one_block: true, ..case.product(&mut unused) };
            let mut seen = Vec::new();
            // SAFETY: the case holds the operands, and the scratch a block of rows.
            unsafe {
                block(&p, 0..m, 0..n, &mut |rows| {
                    seen.extend_from_slice(std::slice::from_raw_parts(p.c, rows.len() * n));
                });
            }
            let wrong = (0..m).find(|&i| seen[i * n..(i + 1) * n] != expected[i * case.ldc..i * case.ldc + n]);
            assert_eq!(wrong, None, "{size:?}");
        });
    }
}

#[test]
fn negative_strides() {
    let (m, n, k) = (20, 40, 60);
    let (a, b): (Vec<f32>, Vec<f32>) = (numbers(m * k, 1), numbers(k * n, 2));
    // A from its last row up, B from its last row up: the chain of row i runs over B's rows backwards.
    let expected: Vec<f32> = (0..m * n)
        .map(|i| (0..k).fold(0.0, |sum, p| a[(m - 1 - i / n) * k + p].mul_add(b[(k - 1 - p) * n + i % n], sum)))
        .collect();
    at_all_levels(|_| {
        let mut c = vec![1.0; m * n];
        let p = Product {
            m,
            n,
            k,
            a: MatRef { ptr: &raw const a[(m - 1) * k], row_stride: -(k as isize), col_stride: 1 },
            b: MatRef { ptr: &raw const b[(k - 1) * n], row_stride: -(n as isize), col_stride: 1 },
            c: c.as_mut_ptr(),
            ldc: n,
            accumulate: false,
            one_block: false,
        };
        // SAFETY: strides lead from the last row to the first.
        unsafe { block(&p, 0..m, 0..n, &mut |_| ()) };
        assert_eq!(c, expected);
    });
}

#[test]
#[should_panic(expected = "matmul: expected B (3, 4) with strides (4, 1) to fit its buffer; got 11 elements")]
fn short_operand() {
    matmul((2, 4, 3), &[0.0_f32; 6], (3, 1), &[0.0; 11], (4, 1), &mut [0.0; 8], 4, false);
}

#[test]
#[should_panic(expected = "matmul: expected rows of C at least 4 apart; got 3")]
fn overlapping_rows() {
    matmul((2, 4, 3), &[0.0_f32; 6], (3, 1), &[0.0; 12], (4, 1), &mut [0.0; 8], 3, false);
}

fn order() -> impl Strategy<Value = Order> {
    prop_oneof![(0..9_usize).prop_map(Order::Rows), (0..9_usize).prop_map(Order::Columns), Just(Order::Sparse)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn random_shapes(m in 0..90_usize, n in 0..90_usize, k in 0..90_usize, a in order(), b in order(), add: bool) {
        check::<f32>((m, n, k), (a, b), add);
        check::<f64>((m, n, k), (a, b), add);
    }
}

proptest! {
    /// Every element has one member, and no member has much more than its share.
    #[test]
    fn members_share_all_of_c(m in 0_usize..40, n in 0_usize..200, size in 1_usize..20, wide in any::<bool>()) {
        let unit = if wide { 16 } else { 8 };
        let mut seen = vec![0; m * n];
        let mut largest = 0;
        for rank in 0..size {
            let (rows, cols) = cell((rank, size), (m, n), unit);
            prop_assert!(cols.is_empty() || cols.start.is_multiple_of(unit));
            largest = largest.max(rows.len() * cols.len());
            for i in rows {
                cols.clone().for_each(|j| seen[i * n + j] += 1);
            }
        }
        prop_assert!(seen.iter().all(|&s| s == 1));
        // Not worse than rows alone, or columns alone.
        let units = n.div_ceil(unit);
        prop_assert!(largest <= (m.div_ceil(size) * units * unit).min(m * units.div_ceil(size) * unit));
    }
}

#[test]
fn few_rows_are_shared_by_many() {
    let works = |(rows, cols): (Range<usize>, Range<usize>)| !rows.is_empty() && !cols.is_empty();
    let busy = |size, m, n| (0..size).filter(|&r| works(cell((r, size), (m, n), 16))).count();
    assert_eq!(busy(8, 3, 100), 7);
    assert_eq!(busy(6, 3, 32), 6);
    assert_eq!(busy(16, 4, 4096), 16);
    assert_eq!(cell((0, 4), (1024, 1024), 16).0, 0..512, "a square is divided both ways");
    assert_eq!(cell((0, 2), (64, 17), 16), (0..32, 0..17));
    assert_eq!(cell((1, 2), (17, 640), 16), (0..17, 320..640));
}
