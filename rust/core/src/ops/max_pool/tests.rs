use super::*;
use crate::kernels::testing::{on_all_levels, random};
use crate::ops::gradcheck_nn::{gradcheck, message, noise, same_bits_for_any_team, to};

fn pooling(kernel: usize, stride: usize, padding: usize, dilation: usize) -> Pooling {
    Pooling {
        name: "max_pool2d",
        dims: 2,
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: [padding; 2],
        dilation: [dilation; 2],
        ceil_mode: true,
    }
}

const SETTINGS: [(usize, usize, usize, usize); 8] =
    [(2, 2, 0, 1), (3, 2, 1, 1), (3, 1, 1, 1), (2, 1, 0, 3), (3, 3, 0, 2), (5, 2, 2, 1), (1, 4, 0, 1), (4, 3, 2, 1)];

#[test]
fn bytes_and_places_name_the_same_winners() {
    let bits = |t: &Tensor| t.to_vec_f64().into_iter().map(f64::to_bits).collect::<Vec<_>>();
    // The last image has more rows than are dealt out at once.
    for shape in [[2, 3, 9, 37], [1, 1, 40, 131], [1, 2, 7, 700]] {
        // Few values, so that many are equal, some NaN, and windows of nothing but −∞.
        let values = random::<f64>(shape.iter().product(), 5).into_iter().map(f64::round).enumerate();
        let values = values.map(|(i, v)| match i {
            _ if i % 29 == 0 => f64::NAN,
            _ if i % 400 < 60 => f64::NEG_INFINITY,
            _ => v,
        });
        let x = Tensor::from_slice(&values.collect::<Vec<_>>(), &shape);
        for ((kernel, stride, padding, dilation), dtype) in
            SETTINGS.into_iter().flat_map(|s| [(s, DType::F64), (s, DType::F32)])
        {
            let (pooling, x) = (pooling(kernel, stride, padding, dilation), to(&x, dtype));
            let [fast, slow] = [true, false].map(|bytes| MaxPool { bytes, ..regular(&x, &pooling).unwrap() });
            on_all_levels(|| both(fast, &[&x]).map(|(y, at)| (bits(&y), bits(&at))).unwrap());
            let ((y, at), (expected, places)) = (both(fast, &[&x]).unwrap(), both(slow, &[&x]).unwrap());
            assert_eq!(bits(&y), bits(&expected), "{pooling:?}");
            let g = to(&noise(y.shape(), 7), dtype);
            let back = |pool, at: &Tensor| {
                let op = Winners { pool, input: x.shape().into(), pick: false };
                let there = apply(op.clone(), &[&g, at]).unwrap();
                [bits(&there), bits(&apply(Winners { pick: true, ..op }, &[&there, at]).unwrap())]
            };
            assert_eq!(back(fast, &at), back(slow, &places), "{pooling:?}");
        }
    }
}

#[test]
fn gradients_are_differences() {
    // No two elements are as near as the step of a difference.
    let apart = |shape: &[usize]| {
        let n: usize = shape.iter().product();
        let values: Vec<f64> = (0..n).map(|i| ((i * 7919) % n) as f64 * 0.01).collect();
        Tensor::from_slice(&values, shape)
    };
    for (kernel, stride, padding, dilation) in SETTINGS {
        gradcheck(&[apart(&[2, 7, 5])], |x| max_pool(&x[0], &pooling(kernel, stride, padding, dilation)));
    }
    gradcheck(&[apart(&[1, 2, 7, 5])], |x| Ok(adaptive_max_pool(&x[0], "adaptive_max_pool2d", 2, [3, 2])?.0));
    let samples = Tensor::from_slice(&[0.3, 0.9, 0.0, 0.6], &[1, 2, 2]);
    gradcheck(&[apart(&[1, 2, 7, 5])], |x| {
        Ok(fractional_max_pool(&x[0], [2, 2], [4, 3], &crate::ops::cast(&samples, x[0].dtype())?)?.0)
    });
}

#[test]
fn fractional_windows_begin_where_the_sequence_says() {
    let firsts = |u: f64| fractional(u, 10, 4, 3).into_iter().map(|(first, _)| first).collect::<Vec<_>>();
    // α = 7 / 3
    assert_eq!(firsts(0.0), [0, 2, 4, 7]);
    assert_eq!(firsts(0.5), [0, 2, 4, 7]);
    assert_eq!(firsts(0.75), [0, 3, 5, 7]);
    assert_eq!(fractional(0.3_f32, 5, 1, 2), [(3, 5)]);
}

#[test]
fn bits_do_not_depend_on_the_team() {
    let x = noise(&[3, 5, 9, 20], 1);
    let regular = regular(&x, &pooling(3, 2, 1, 1)).unwrap();
    for bytes in [true, false] {
        same_bits_for_any_team(&MaxPool { bytes, ..regular }, std::slice::from_ref(&x));
    }
}

#[test]
fn settings_that_make_no_sense_are_named() {
    let x = noise(&[1, 1, 4, 4], 1);
    let of = |kernel, stride, padding, dilation| {
        message(max_pool(&x, &Pooling { ceil_mode: false, ..pooling(kernel, stride, padding, dilation) }))
    };
    assert_eq!(
        of(5, 1, 0, 1),
        "max_pool2d: expected input of at least (5, 5) with padding (0, 0) in its last 2 dimensions; got (1, 1, 4, 4)"
    );
    assert_eq!(of(2, 0, 0, 1), "max_pool2d: expected stride of at least 1; got (0, 0)");
    assert_eq!(of(2, 1, 2, 1), "max_pool2d: expected padding of at most half of kernel_size (2, 2); got (2, 2)");
}
