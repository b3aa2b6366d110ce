use super::*;
use crate::element::DType;
use crate::ops::gradcheck_nn::{close, gradcheck, message, noise, same_bits_for_any_team, to};

/// Shapes of a, b and the result.
const CASES: [[&[usize]; 3]; 12] = [
    [&[4], &[4], &[]],
    [&[2, 4], &[4, 3], &[2, 3]],
    [&[4], &[4, 3], &[3]],
    [&[2, 4], &[4], &[2]],
    [&[5, 2, 4], &[4, 3], &[5, 2, 3]],
    [&[5, 2, 4], &[4], &[5, 2]],
    [&[4], &[5, 4, 3], &[5, 3]],
    [&[2, 4], &[5, 4, 3], &[5, 2, 3]],
    [&[5, 1, 2, 4], &[3, 4, 3], &[5, 3, 2, 3]],
    [&[2, 4], &[1, 4, 3], &[1, 2, 3]],
    [&[0, 4], &[4, 3], &[0, 3]],
    [&[2, 0], &[0, 3], &[2, 3]],
];

fn reference(a: &Tensor, b: &Tensor, shape: &[usize]) -> Vec<f64> {
    let y = result(&contiguous(shape), a.ndim() == 1, b.ndim() == 1);
    let (stack, m, n) = split(&y.shape);
    let spread = |layout: Layout| {
        let (_, rows, cols) = split(&layout.shape);
        let all: Vec<usize> = stack.iter().copied().chain([rows, cols]).collect();
        (layout.expand(&all), cols)
    };
    let ((al, k), (bl, _)) = (spread(left(a.layout())), spread(right(b.layout())));
    let flat = |t: &Tensor| t.alias(Layout::contiguous(&[t.numel()])).to_vec_f64();
    let (av, bv) = (flat(a), flat(b));
    let at = |l: &Layout, i: usize, r: usize, c: usize| {
        let n = l.ndim();
        (offset(stack, &l.strides, i) + r as isize * l.strides[n - 2] + c as isize * l.strides[n - 1]) as usize
    };
    (0..y.numel())
        .map(|e| {
            let (i, r, c) = (e / (m * n), e / n % m, e % n);
            (0..k).map(|p| av[at(&al, i, r, p)] * bv[at(&bl, i, p, c)]).sum()
        })
        .collect()
}

#[test]
fn values_and_shapes_are_those_of_the_formula() {
    for [a, b, shape] in CASES {
        let (a, b) = (noise(a, 1), noise(b, 2));
        let y = matmul(&a, &b).unwrap();
        assert_eq!(y.shape(), shape);
        let expected = reference(&a, &b, shape);
        close(&y, &expected, 1e-13);
        close(&matmul(&to(&a, DType::F32), &to(&b, DType::F32)).unwrap(), &expected, 1e-5);
        same_bits_for_any_team(&Matmul, &[a, b]);
    }
}

#[test]
fn gradients_are_right() {
    for [a, b, _] in CASES {
        gradcheck(&[noise(a, 1), noise(b, 2)], |t| matmul(&t[0], &t[1]));
    }
}

#[test]
fn transposed_operands_give_the_same_bits_as_copies() {
    let (a, b) = (noise(&[3, 5, 7], 1), noise(&[7, 6], 2));
    let turn = |t: &Tensor| t.alias(transpose(t.layout().clone()));
    let copied = |t: &Tensor| Tensor::from_slice(&t.to_vec_f64(), t.shape());
    let (at, bt) = (turn(&copied(&turn(&a))), turn(&copied(&turn(&b))));
    let expected = matmul(&a, &b).unwrap().to_vec_f64();
    close(&matmul(&at, &b).unwrap(), &expected, 0.0);
    close(&matmul(&a, &bt).unwrap(), &expected, 0.0);
    close(&matmul(&at, &bt).unwrap(), &expected, 0.0);
}

#[test]
fn wrong_shapes_are_named() {
    let wrong = |a: &[usize], b: &[usize]| message(matmul(&noise(a, 1), &noise(b, 2)));
    assert_eq!(wrong(&[2, 3], &[4, 5]), "matmul: expected shapes (*, k) and (*, k, n); got (2, 3) and (4, 5)");
    assert_eq!(wrong(&[], &[4]), "matmul: expected tensors of at least 1 dimension; got () and (4,)");
    let expected = "matmul: expected leading dimensions that broadcast together; got (2, 3, 4) and (3, 4, 5)";
    assert_eq!(wrong(&[2, 3, 4], &[3, 4, 5]), expected);
}
