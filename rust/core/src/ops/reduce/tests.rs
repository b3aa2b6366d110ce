use super::*;
use crate::kernels::testing::assert_close;
use crate::ops::gradcheck::{between, gradcheck, uniform};
use crate::ops::permute;
use crate::tensor::tape::backward;

/// The groups of values that reduce to one, in row-major order of the results.
fn groups(x: &Tensor, dims: &[usize]) -> Vec<Vec<f64>> {
    let kept: Vec<usize> = (0..x.ndim()).map(|d| if dims.contains(&d) { 1 } else { x.shape()[d] }).collect();
    let mut groups = vec![Vec::new(); kept.iter().product()];
    for (i, value) in x.to_vec_f64().into_iter().enumerate() {
        let (mut rest, mut group, mut step) = (i, 0, 1);
        for d in (0..x.ndim()).rev() {
            group += if kept[d] == 1 { 0 } else { rest % x.shape()[d] * step };
            rest /= x.shape()[d];
            step *= kept[d];
        }
        groups[group].push(value);
    }
    groups
}

type Case = (fn(&Tensor, Option<&[i64]>, bool) -> Result<Tensor>, fn(&[f64]) -> f64);
const CASES: [Case; 7] = [
    (sum, |x| x.iter().sum()),
    (mean, |x| x.iter().sum::<f64>() / x.len() as f64),
    (prod, |x| x.iter().product()),
    (amax, |x| x.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
    (amin, |x| x.iter().copied().fold(f64::INFINITY, f64::min)),
    (|x, dims, keep| var(x, dims, 0.5, keep), |x| variance(x)),
    (|x, dims, keep| std(x, dims, 0.5, keep), |x| variance(x).sqrt()),
];

/// With correction ½.
fn variance(x: &[f64]) -> f64 {
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    x.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / (x.len() as f64 - 0.5)
}

const SETS: [&[usize]; 8] = [&[0], &[1], &[2], &[0, 1], &[1, 2], &[0, 2], &[2, 3, 0], &[3]];

#[test]
fn values_over_any_dimensions_of_any_strides() {
    let whole = uniform(&[5, 17, 3, 1], 1);
    let turned = permute(&uniform(&[3, 1, 5, 17], 2), &[2, 3, 0, 1]).unwrap();
    for x in [whole, turned] {
        for (op, f) in CASES {
            for dims in SETS {
                let expected: Vec<f64> = groups(&x, dims).iter().map(|g| f(g)).collect();
                let asked: Vec<i64> = dims.iter().map(|&d| d as i64 - 4).collect();
                let y = op(&x, Some(&asked), true).unwrap();
                let kept: Vec<usize> = (0..4).map(|d| if dims.contains(&d) { 1 } else { x.shape()[d] }).collect();
                assert_eq!(y.shape(), kept);
                assert_close(&y.to_vec_f64(), &expected, 1e-12);
                let y = op(&x, Some(&asked), false).unwrap();
                assert_eq!(y.ndim(), 4 - dims.len());
                assert_close(&y.to_vec_f64(), &expected, 1e-12);
            }
            let y = op(&x, None, false).unwrap();
            assert_eq!(y.shape(), [0_usize; 0]);
            assert_close(&y.to_vec_f64(), &[f(&x.to_vec_f64())], 1e-12);
            assert_eq!(op(&x, Some(&[]), true).unwrap().shape(), [1; 4]);
        }
    }
}

#[test]
fn gradients() {
    let x = between(0.5, 2.0, &[2, 3, 4], 3);
    for (op, _) in CASES {
        for dims in [&[0][..], &[1], &[-1], &[0, 2], &[1, 2], &[]] {
            gradcheck(|x| op(&x[0], Some(dims), false), std::slice::from_ref(&x));
        }
        gradcheck(|x| op(&x[0], None, true), std::slice::from_ref(&x));
        gradcheck(|x| op(&permute(&x[0], &[2, 0, 1])?, Some(&[1]), false), std::slice::from_ref(&x));
    }
    for dim in [0, 1, 2] {
        gradcheck(|x| Ok(max_along(&x[0], dim, false)?.0), std::slice::from_ref(&x));
        gradcheck(|x| Ok(min_along(&x[0], dim, true)?.0), std::slice::from_ref(&x));
    }
    gradcheck(|x| Ok(max_along(&x[0], 0, false)?.0), &[uniform(&[], 1)]);
    gradcheck(|x| sum_to(&expand(&x[0], &[4, 2, 3])?, &[3]), &[uniform(&[2, 1], 4)]);
    let with_zeros = Tensor::from_slice(&[0.0, 2.0, 3.0, 0.0, 0.0, 5.0], &[2, 3]);
    gradcheck(|x| prod(&x[0], Some(&[1]), false), std::slice::from_ref(&with_zeros));
    gradcheck(|x| prod(&x[0], Some(&[0]), false), &[with_zeros]);
}

#[test]
fn long_sums_take_the_chunked_order() {
    for n in [CHUNK, CHUNK + 1, 5 * CHUNK + 17] {
        let values = crate::kernels::testing::random::<f32>(n, 1);
        let x = Tensor::from_slice(&values, &[n]);
        let expected = f64::from(reduce::sum_flat(&values));
        assert_eq!(sum(&x, None, false).unwrap().to_vec_f64(), [expected]);
        assert_eq!(sum(&x, Some(&[0]), true).unwrap().to_vec_f64(), [expected]);
        assert_eq!(amax(&x, None, false).unwrap().to_vec_f64(), [f64::from(reduce::max(&values))]);
        gradcheck_of_sum(&x);
    }
}

fn gradcheck_of_sum(x: &Tensor) {
    let leaf = x.detach();
    leaf.set_requires_grad(true).unwrap();
    backward(&mean(&leaf, None, false).unwrap(), None, false).unwrap();
    let expected = f64::from(1.0 / x.numel() as f32);
    assert!(leaf.grad().unwrap().to_vec_f64().iter().all(|&g| g == expected));
}

fn grad_of(f: impl Fn(&Tensor) -> Result<Tensor>, values: &[f64], shape: &[usize]) -> Vec<f64> {
    let x = Tensor::from_slice(values, shape);
    x.set_requires_grad(true).unwrap();
    let y = f(&x).unwrap();
    backward(&y, Some(&Tensor::full(y.shape(), 1.0, DType::F64)), false).unwrap();
    x.grad().unwrap().to_vec_f64()
}

#[test]
fn ties_share_the_gradient_but_along_a_dimension_the_first_takes_it() {
    let values = [1.0, 3.0, 3.0, 3.0];
    assert_eq!(grad_of(max, &values, &[4]), [0.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0]);
    assert_eq!(grad_of(min, &[2.0, 2.0], &[2]), [0.5, 0.5]);
    // Over two parted dimensions too: each of the three gets a third, not ½, ¼ and ¼.
    let parted = grad_of(|x| amax(x, Some(&[0, 2]), false), &values, &[2, 1, 2]);
    assert_eq!(parted, [0.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0]);
    assert_eq!(grad_of(|x| Ok(max_along(x, 0, false)?.0), &values, &[4]), [0.0, 1.0, 0.0, 0.0]);
    assert_eq!(grad_of(max, &[1.0, f64::NAN], &[2]), [0.0, 1.0]);
    assert_eq!(grad_of(|x| std(x, None, 1.0, false), &[2.0, 2.0], &[2]), [0.0, 0.0]);
}

#[test]
fn extremes_and_their_positions() {
    let x = Tensor::from_slice(&[3.0_f32, 9.0, 9.0, -1.0, f32::NAN, 0.0], &[2, 3]);
    let (values, at) = max_along(&x, 1, false).unwrap();
    assert!(values.to_vec_f64()[0] == 9.0 && values.to_vec_f64()[1].is_nan());
    assert_eq!((at.dtype(), at.to_vec_f64()), (DType::I64, vec![1.0, 1.0]));
    let (values, at) = min_along(&x, 0, true).unwrap();
    assert_eq!((values.shape(), at.to_vec_f64()), (&[1, 3][..], vec![1.0, 1.0, 1.0]));
    assert_eq!(argmax(&x, None, false).unwrap().to_vec_f64(), [4.0]);
    assert_eq!(argmin(&x, Some(-1), true).unwrap().to_vec_f64(), [0.0, 1.0]);
    assert_eq!(argmax(&x, None, true).unwrap().shape(), [1, 1]);
    let turned = permute(&x, &[1, 0]).unwrap();
    assert_eq!(argmin(&turned, Some(0), false).unwrap().to_vec_f64(), [0.0, 1.0]);
    let integers = Tensor::from_slice(&[4_i64, 7, 7], &[3]);
    let (values, at) = max_along(&integers, 0, false).unwrap();
    assert_eq!((values.view().slice::<i64>(), at.view().slice::<i64>()), (&[7][..], &[1][..]));
}

#[test]
fn integers_and_masks() {
    let x = Tensor::from_slice(&[1_i64 << 60, 3, -2, 5], &[2, 2]);
    assert_eq!(sum(&x, Some(&[0]), false).unwrap().view().slice::<i64>(), [(1 << 60) - 2, 8]);
    assert_eq!(prod(&x, Some(&[1]), false).unwrap().view().slice::<i64>(), [3 << 60, -10]);
    assert_eq!(amin(&x, None, false).unwrap().view().slice::<i64>(), [-2]);
    let mask = Tensor::from_slice(&[1_u8, 0, 1, 1], &[2, 2]);
    let count = sum(&mask, None, false).unwrap();
    assert_eq!((count.dtype(), count.to_vec_f64()), (DType::I64, vec![3.0]));
    assert_eq!(all(&mask, Some(&[1]), false).unwrap().view().slice::<u8>(), [0, 1]);
    assert_eq!(any(&Tensor::from_slice(&[0.0, f64::NAN], &[2]), None, false).unwrap().view().slice::<u8>(), [1]);
    assert_eq!(all(&mask, None, false).unwrap().view().slice::<u8>(), [0]);
    assert_eq!(
        mean(&mask, None, false).unwrap_err(),
        Error::Type("mean: expected a floating-point tensor; got bool".into())
    );
}

#[test]
fn nothing_to_reduce() {
    let x = uniform(&[0, 3], 1);
    assert_eq!(sum(&x, Some(&[0]), false).unwrap().to_vec_f64(), [0.0; 3]);
    assert_eq!(prod(&x, None, false).unwrap().to_vec_f64(), [1.0]);
    assert!(mean(&x, None, false).unwrap().to_vec_f64()[0].is_nan());
    assert_eq!(amax(&x, Some(&[1]), false).unwrap().shape(), [0]);
    assert_eq!(max_along(&x, 1, false).unwrap().1.shape(), [0]);
    assert!(var(&uniform(&[1], 1), None, 1.0, false).unwrap().to_vec_f64()[0].is_nan());
    let message = |result: Result<Tensor>| result.unwrap_err().message().to_owned();
    assert_eq!(message(max(&x)), "max: expected at least one element to choose from; got (0, 3)");
    assert_eq!(message(argmax(&x, Some(0), false)), "argmax: expected at least one element to choose from; got (0, 3)");
    assert_eq!(message(sum(&x, Some(&[1, -1]), false)), "sum: expected each dimension once; got dim -1 twice");
    assert_eq!(sum(&x, Some(&[2]), false).unwrap_err(), Error::Index("sum: expected dim in [-2, 1]; got 2".into()));
}

#[test]
fn items() {
    assert_eq!(item(&Tensor::full(&[1, 1], 2.0, DType::F32)).unwrap(), Scalar::Float(2.0));
    assert_eq!(item(&Tensor::from_slice(&[i64::MAX], &[])).unwrap(), Scalar::Int(i64::MAX));
    let error = item(&uniform(&[2], 1)).unwrap_err();
    assert_eq!(error.message(), "item: expected a tensor of one element; got (2,)");
}

/// A race or a share left out shows as other bits than one thread gives.
#[test]
fn a_team_gives_the_bits_of_one_thread() {
    use crate::ops::{cat, index_select, scatter_add, slice};
    let values = crate::kernels::testing::random::<f32>(300_000, 1);
    let x = Tensor::from_slice(&values, &[600, 500]);
    let turned = permute(&x, &[1, 0]).unwrap();
    let at: Vec<i64> = (0..300_000).map(|i| i * 7919 % 600).collect();
    let index = Tensor::from_slice(&at, &[600, 500]);
    let rows = Tensor::from_slice(&at[..600], &[600]);
    let results = || -> Vec<Vec<f64>> {
        let leaf = x.detach();
        leaf.set_requires_grad(true).unwrap();
        let picked = index_select(&slice(&leaf, 1, Some(3), None, 2).unwrap(), 0, &rows).unwrap();
        backward(&sum(&picked, None, false).unwrap(), None, false).unwrap();
        let reduced = [&[][..], &[0], &[1]].map(|dims| sum(&x, Some(dims), false).unwrap());
        let others = [
            var(&turned, Some(&[0]), 1.0, false).unwrap(),
            max_along(&x, 0, false).unwrap().1,
            crate::ops::add(&turned, &permute(&leaf, &[1, 0]).unwrap()).unwrap(),
            scatter_add(&x, 0, &index, &x).unwrap(),
            cat(&[&x, &x], 1).unwrap(),
            leaf.grad().unwrap(),
        ];
        reduced.iter().chain(&others).map(Tensor::to_vec_f64).collect()
    };
    let before = crate::threads::num_threads();
    crate::threads::set_num_threads(1).unwrap();
    let alone = results();
    crate::threads::set_num_threads(3).unwrap();
    let together = results();
    crate::threads::set_num_threads(before).unwrap();
    assert!(alone == together);
}
