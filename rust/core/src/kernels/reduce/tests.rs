use super::*;
use crate::kernels::testing::{SIZES, assert_close, bits, on_all_levels, random, tolerance, transposed, wide};

/// The order of a sum, spelled out: blocks of 512, added in double precision.
fn sum_by_definition<T: Float>(x: &[T]) -> T {
    T::from_f64(x.chunks(512).map(|block| block_by_definition(block).to_f64()).fold(0.0, |total, sum| total + sum))
}

fn block_by_definition<T: Float>(x: &[T]) -> T {
    let mut lanes = [T::ZERO; 16];
    for (i, &x) in x.iter().enumerate() {
        lanes[i % 16] += x;
    }
    let eight: [T; 8] = std::array::from_fn(|l| lanes[l] + lanes[l + 8]);
    let four: [T; 4] = std::array::from_fn(|l| eight[l] + eight[l + 4]);
    (four[0] + four[2]) + (four[1] + four[3])
}

fn check_sums<T: Float>() {
    for n in SIZES {
        let (x, y) = (random::<T>(n, 1), random::<T>(n, 2));
        let [x64, y64] = [wide(&x), wide(&y)];
        let found = on_all_levels(|| bits(&[sum(&x), sum_sq(&x), dot(&x, &y)]));
        assert_eq!(found[0], bits(&[sum_by_definition(&x)])[0], "{n}");
        let dot64: f64 = x64.iter().zip(&y64).map(|(x, y)| x * y).sum();
        let expected = [x64.iter().sum(), x64.iter().map(|x| x * x).sum(), dot64];
        assert_close(&[sum(&x), sum_sq(&x), dot(&x, &y)], &expected, tolerance::<T>());
    }
}

#[test]
fn sums_take_the_lane_order() {
    check_sums::<f32>();
    check_sums::<f64>();
}

fn check_layouts<T: Float>() {
    for (rows, cols) in [(0, 3), (1, 1), (3, 17), (16, 64), (17, 100), (100, 85), (33, 4), (4097, 3)] {
        let x = random::<T>(rows * cols, 3);
        let columns = transposed(&x, rows, cols);
        for kind in [Reduction::Sum, Reduction::SumSq, Reduction::Max, Reduction::Min] {
            let mut a = vec![T::ONE; cols];
            reduce_axis(kind, &columns, Axis::new(cols, rows, 1), &mut a);
            let found = on_all_levels(|| {
                let mut b = vec![T::ONE; cols];
                reduce_axis(kind, &x, Axis::new(1, rows, cols), &mut b);
                bits(&b)
            });
            assert_eq!(bits(&a), found, "{kind:?} of {rows} × {cols}");
        }
        if rows > 0 {
            let (mut a, mut b) = (vec![0; cols], vec![0; cols]);
            argmax_axis(&columns, Axis::new(cols, rows, 1), &mut a);
            argmax_axis(&x, Axis::new(1, rows, cols), &mut b);
            assert_eq!(a, b);
            argmin_axis(&columns, Axis::new(cols, rows, 1), &mut a);
            argmin_axis(&x, Axis::new(1, rows, cols), &mut b);
            assert_eq!(a, b);
        }
    }
}

#[test]
fn both_layouts_give_the_same_bits() {
    check_layouts::<f32>();
    check_layouts::<f64>();
}

#[test]
fn blocks_and_padding_of_an_axis_are_kept_apart() {
    // Two blocks of three runs of two elements, each run padded by one.
    let x: Vec<f64> = (0..18).map(f64::from).collect();
    let axis = Axis { outer: 2, len: 3, inner: 2, stride: 3 };
    let mut out = [0.0; 4];
    reduce_axis(Reduction::Sum, &x, axis, &mut out);
    assert_eq!(out, [9.0, 12.0, 36.0, 39.0]);
    let mut at = [0; 4];
    argmax_axis(&x, axis, &mut at);
    assert_eq!(at, [2; 4]);
}

#[test]
fn terms_one_after_another_make_the_same_sum() {
    for n in SIZES {
        let x = random::<f32>(n, 6);
        let (mut sums, mut products) = (Running::default(), Running::default());
        for &x in &x {
            sums.add(x);
            products.add_product(x, x);
        }
        assert_eq!(bits(&[sums.total(), products.total()]), bits(&[sum(&x), sum_sq(&x)]), "{n}");
    }
}

#[test]
fn long_sums_of_one_number_are_within_a_millionth() {
    for n in [511, 513, 70_001, 1_000_007] {
        for value in [0.1_f32, 0.7, 1.1] {
            let x = vec![value; n];
            let exact = f64::from(value) * n as f64;
            let mut columns = [0.0; 1];
            sum_columns(&x, n, 1, 1, &mut columns);
            for found in [sum(&x), sum_flat(&x), columns[0]] {
                assert!((f64::from(found) / exact - 1.0).abs() < 1e-6, "{n} times {value}: {found}, not {exact}");
            }
        }
    }
}

#[test]
fn a_flat_sum_is_the_sum_of_its_chunks() {
    for n in [0, 1, CHUNK, CHUNK + 1, 5 * CHUNK + 17, CHUNK * CHUNK + CHUNK + 3] {
        let x = random::<f32>(n, 4);
        let mut partials = vec![0.0; n.div_ceil(CHUNK)];
        chunk_sums(&x, &mut partials);
        assert_eq!(sum_flat(&x).to_bits(), sum_flat(&partials).to_bits(), "{n}");
        assert_close(&[sum_flat(&x)], &[wide(&x).iter().sum()], 1e-5);
    }
}

#[test]
fn extremes_propagate_nan_and_take_the_first_position() {
    let nan = f32::NAN;
    let mut x = random::<f32>(100, 5);
    (x[20], x[70], x[33], x[34]) = (7.0, 7.0, -7.0, -7.0);
    assert_eq!((max(&x), argmax(&x), min(&x), argmin(&x)), (7.0, 20, -7.0, 33));
    (x[50], x[60]) = (nan, nan);
    assert!(max(&x).is_nan() && min(&x).is_nan());
    assert_eq!((argmax(&x), argmin(&x)), (50, 50));
    let mut at = [0];
    argmax_columns(&x, 100, 1, 1, &mut at);
    assert_eq!(at, [50]);
    argmin_columns(&x, 100, 1, 1, &mut at);
    assert_eq!(at, [50]);
    let mut out = [0.0];
    reduce_axis(Reduction::Max, &x, Axis { outer: 1, len: 100, inner: 1, stride: 1 }, &mut out);
    assert!(out[0].is_nan());
    assert_eq!((max::<f32>(&[]), min::<f32>(&[])), (f32::NEG_INFINITY, f32::INFINITY));
    assert_eq!((max(&[f32::NEG_INFINITY; 20]), argmax(&[f32::NEG_INFINITY; 20])), (f32::NEG_INFINITY, 0));
}
