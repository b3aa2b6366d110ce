use super::*;
use crate::ops::gradcheck::{gradcheck, run_unchecked, uniform};
use crate::ops::{add, mul};

fn integers(values: &[i64], shape: &[usize]) -> Tensor {
    Tensor::from_slice(values, shape)
}

/// 0, 1, 2, … in float64.
fn counted(shape: &[usize]) -> Tensor {
    let n = shape.iter().product::<usize>();
    Tensor::from_slice(&(0..n).map(|i| i as f64).collect::<Vec<_>>(), shape)
}

const ALL: Index = Index::Slice { start: None, stop: None, step: 1 };

fn part(start: i64, stop: i64, step: i64) -> Index {
    Index::Slice { start: Some(start), stop: Some(stop), step }
}

#[test]
fn slices_are_those_of_python() {
    let x = counted(&[7]);
    let at = |start, stop, step| slice(&x, 0, start, stop, step).unwrap().to_vec_f64();
    assert_eq!(at(Some(1), Some(6), 2), [1.0, 3.0, 5.0]);
    assert_eq!(at(Some(-3), None, 1), [4.0, 5.0, 6.0]);
    assert_eq!(at(None, Some(-5), 1), [0.0, 1.0]);
    assert_eq!(at(Some(-100), Some(100), 3), [0.0, 3.0, 6.0]);
    assert_eq!(at(Some(i64::MIN), Some(i64::MAX), i64::MAX), [0.0]);
    assert!(at(Some(5), Some(2), 1).is_empty());
    assert!(at(Some(9), None, 1).is_empty());
    let error = slice(&x, 0, None, None, -1).unwrap_err();
    assert_eq!(error, Error::Value("slice: expected a step of at least 1; got -1".into()));
}

#[test]
fn selected_and_narrowed_views() {
    let x = permute(&counted(&[2, 3, 4]), &[2, 0, 1]).unwrap();
    assert_eq!(select(&x, 0, -1).unwrap().to_vec_f64(), [3.0, 7.0, 11.0, 15.0, 19.0, 23.0]);
    assert_eq!(
        narrow(&select(&x, 1, 1).unwrap(), 0, -2, 2).unwrap().to_vec_f64(),
        [14.0, 18.0, 22.0, 15.0, 19.0, 23.0]
    );
    assert!(select(&x, 2, 0).unwrap().is_view());
    let error = select(&x, 1, 2).unwrap_err();
    assert_eq!(error, Error::Index("select: expected index in [-2, 1] for dimension 1; got 2".into()));
    let message = "narrow: expected start + length of at most 4, the size of dimension 0; got 3 + 2";
    assert_eq!(narrow(&x, 0, 3, 2).unwrap_err(), Error::Value(message.into()));
}

#[test]
fn items_of_python() {
    let x = counted(&[2, 3, 4]);
    let at = |items: &[Index]| {
        let y = index(&x, items).unwrap();
        (y.shape().to_vec(), y.to_vec_f64())
    };
    assert_eq!(at(&[Index::At(1), ALL, Index::At(-1)]), (vec![3], vec![15.0, 19.0, 23.0]));
    assert_eq!(at(&[Index::Ellipsis, Index::At(0)]), (vec![2, 3], vec![0.0, 4.0, 8.0, 12.0, 16.0, 20.0]));
    assert_eq!(at(&[Index::At(0), Index::NewAxis, part(0, 3, 2), part(1, 2, 1)]).0, [1, 2, 1]);
    assert_eq!(at(&[]).0, [2, 3, 4]);
    // Positions of one dimension, then of two neighbors, then of two that are not.
    let idx = Index::Tensor(integers(&[2, 0, -1, 0], &[2, 2]));
    let (shape, values) = at(&[ALL, idx.clone(), Index::At(1)]);
    assert_eq!((shape, values), (vec![2, 2, 2], vec![9.0, 1.0, 9.0, 1.0, 21.0, 13.0, 21.0, 13.0]));
    let two = Index::Tensor(integers(&[1, 3], &[2]));
    let column = Index::Tensor(integers(&[0, 2], &[2, 1]));
    assert_eq!(at(&[Index::At(0), column, two.clone()]), (vec![2, 2], vec![1.0, 3.0, 9.0, 11.0]));
    let one = Index::Tensor(integers(&[0, 1], &[2]));
    assert_eq!(at(&[one, ALL, two]), (vec![2, 3], vec![1.0, 5.0, 9.0, 15.0, 19.0, 23.0]));
    let single = Index::Tensor(integers(&[-1], &[]));
    assert_eq!(at(&[single.clone(), single.clone(), single]), (vec![], vec![23.0]));
    // Masks of one and of two dimensions.
    let mask = Index::Tensor(Tensor::from_slice(&[0_u8, 1, 1, 0, 0, 0], &[2, 3]));
    assert_eq!(at(&[mask]), (vec![2, 4], vec![4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0]));
    let mask = Index::Tensor(Tensor::from_slice(&[1_u8, 0, 1], &[3]));
    assert_eq!(at(&[Index::At(0), mask, Index::At(0)]), (vec![2], vec![0.0, 8.0]));
    let none = Index::Tensor(Tensor::from_slice(&[0_u8; 24], &[2, 3, 4]));
    assert_eq!(at(&[none]), (vec![0], vec![]));
}

#[test]
fn wrong_items_are_named() {
    let x = counted(&[2, 3]);
    let message = |items: &[Index]| match index(&x, items).unwrap_err() {
        Error::Index(message) => message,
        other => panic!("{other:?}"),
    };
    assert_eq!(message(&[ALL, Index::At(3)]), "index: expected index in [-3, 2] for dimension 1; got 3");
    let far = Index::Tensor(integers(&[0, -4], &[2]));
    assert_eq!(message(&[Index::At(0), far]), "index: expected index in [-3, 2] for dimension 1; got -4");
    let mask = Index::Tensor(Tensor::from_slice(&[1_u8, 1], &[2]));
    assert_eq!(message(&[ALL, mask]), "index: expected a mask of shape (3,) for dimension 1 on; got (2,)");
    assert_eq!(
        message(&[ALL, ALL, ALL]),
        "index: expected at most 2 indices and one ellipsis for a tensor of shape (2, 3); got 3"
    );
    let error = index(&x, &[Index::Tensor(counted(&[1]))]).unwrap_err();
    assert_eq!(error, Error::Type("index: expected an index of dtype int64; got float64".into()));
    let empty = counted(&[0]);
    let message = "index_select: expected no index for dimension 0 of size 0; got 0";
    assert_eq!(index_select(&empty, 0, &integers(&[0], &[1])).unwrap_err(), Error::Index(message.into()));
}

#[test]
fn gather_and_scatter_along_each_dimension() {
    let x = permute(&counted(&[4, 3]), &[1, 0]).unwrap(); // x[i][j] = 3 j + i
    let at = integers(&[2, 0, 1, 1, 0, 0], &[2, 3]);
    assert_eq!(gather(&x, 0, &at).unwrap().to_vec_f64(), [2.0, 3.0, 7.0, 1.0, 3.0, 6.0]);
    assert_eq!(gather(&x, 1, &at).unwrap().to_vec_f64(), [6.0, 0.0, 3.0, 4.0, 1.0, 1.0]);
    let y = scatter_add(&Tensor::zeros(&[3, 4], DType::F64), 0, &at, &counted(&[2, 3])).unwrap();
    assert_eq!(y.to_vec_f64(), [0.0, 5.0, 5.0, 0.0, 3.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    let y = index_add(&counted(&[2, 2]), 1, &integers(&[1, 1, 0], &[3]), &counted(&[2, 3])).unwrap();
    assert_eq!(y.to_vec_f64(), [2.0, 2.0, 7.0, 10.0]);
}

#[test]
fn positions_outside_and_misfits_are_named() {
    let x = counted(&[3, 2]);
    let message = |result: Result<Tensor>| result.unwrap_err().message().to_owned();
    let far = integers(&[0, 3], &[1, 2]);
    assert_eq!(message(gather(&x, 0, &far)), "gather: expected index in [0, 2] for dimension 0; got 3");
    assert_eq!(
        message(scatter_add(&x, 1, &far, &counted(&[1, 2]))),
        "scatter_add: expected index in [0, 1] for dimension 1; got 3"
    );
    assert_eq!(
        message(gather(&x, 0, &integers(&[0; 3], &[1, 3]))),
        "gather: expected an index no larger than (3, 2) but along dim 0; got (1, 3)"
    );
    assert_eq!(
        message(index_select(&x, 0, &integers(&[-1], &[1]))),
        "index_select: expected index in [0, 2] for dimension 0; got -1"
    );
    assert_eq!(
        message(index_select(&x, 0, &integers(&[0; 4], &[2, 2]))),
        "index_select: expected an index of one dimension; got (2, 2)"
    );
    assert_eq!(
        message(index_add(&x, 0, &integers(&[0], &[1]), &counted(&[2, 2]))),
        "index_add: expected a source of shape (1, 2); got (2, 2)"
    );
}

#[test]
fn gradients() {
    let x = [uniform(&[3, 4, 2], 1)];
    gradcheck(|x| slice(&x[0], 1, Some(1), None, 2), &x);
    gradcheck(|x| select(&permute(&x[0], &[1, 0, 2])?, 0, 2), &x);
    gradcheck(|x| slice(&x[0], 0, Some(2), Some(1), 1), &x);
    let at = integers(&[2, 0, 0, 1, 2, 2, 0, 0], &[2, 2, 2]);
    gradcheck(|x| gather(&x[0], 0, &at), &x);
    gradcheck(|x| gather(&x[0], 1, &at), &x);
    gradcheck(|x| index_select(&x[0], 1, &integers(&[3, 0, 3], &[3])), &x);
    gradcheck(|x| index_select(&x[0], 2, &integers(&[], &[0])), &x);
    let src = uniform(&[2, 3, 2], 2);
    gradcheck(|x| scatter_add(&x[0], 0, &at, &x[1]), &[x[0].clone(), src]);
    let two = integers(&[1, 1], &[2]);
    gradcheck(|x| index_add(&x[0], 0, &two, &x[1]), &[x[0].clone(), uniform(&[2, 4, 2], 3)]);
    let items = [Index::Tensor(integers(&[0, -1, 0], &[3])), ALL, Index::Tensor(integers(&[1, 0, 1], &[3, 1]))];
    gradcheck(|x| index(&x[0], &items), &x);
    let mask = Index::Tensor(Tensor::from_slice(&[1_u8, 0, 1, 1], &[4]));
    gradcheck(|x| index(&x[0], &[ALL, mask.clone()]), &x);
    // A view used twice: gradients of overlapping parts add up.
    gradcheck(|x| mul(&slice(&x[0], 1, None, Some(3), 1)?, &slice(&x[0], 1, Some(1), None, 1)?), &x);
}

#[test]
fn numbers_have_one_place() {
    let x = counted(&[1]);
    let number = reshape_to(&x, &[]).unwrap();
    assert_eq!(gather(&number, 0, &integers(&[0], &[])).unwrap().shape(), [0_usize; 0]);
    assert_eq!(
        scatter_add(&number, 0, &integers(&[0], &[]), &add(&number, &ones()).unwrap()).unwrap().to_vec_f64(),
        [1.0]
    );
    assert!(matches!(select(&number, 0, 0), Err(Error::Index(_))));
}

fn ones() -> Tensor {
    Tensor::full(&[], 1.0, DType::F64)
}

#[test]
fn assignment_reaches_views_and_positions() {
    let x = Tensor::zeros(&[3, 4], DType::F32);
    index_put_(&x, &[part(0, 2, 1), Index::At(1)], &counted(&[2])).unwrap();
    index_put_(&x, &[Index::Tensor(integers(&[2, -1, 2], &[3])), part(0, 1, 1)], &ones()).unwrap();
    assert_eq!(x.to_vec_f64(), [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]);
    let turned = permute(&x, &[1, 0]).unwrap();
    let mask = super::super::gt_scalar(&turned, 0).unwrap();
    index_put_(&turned, &[Index::Tensor(mask)], &Tensor::from_slice(&[7_i64, 8], &[2])).unwrap();
    assert_eq!(x.to_vec_f64(), [0.0, 0.0, 0.0, 0.0, 0.0, 8.0, 0.0, 0.0, 7.0, 0.0, 0.0, 0.0]);
    let error = index_put_(&x, &[Index::Tensor(integers(&[0], &[1]))], &counted(&[3])).unwrap_err();
    assert_eq!(error.message(), "index_put_: expected shapes that broadcast together; got (3,) and (1, 4)");
}

#[test]
fn nonzero_lists_positions_by_dimension() {
    let x = Tensor::from_slice(&[0.0, 2.0, 0.0, f64::NAN, 0.0, 1.0], &[3, 2]);
    let found: Vec<Vec<f64>> = nonzero(&x).unwrap().iter().map(Tensor::to_vec_f64).collect();
    assert_eq!(found, [[0.0, 1.0, 2.0], [1.0, 1.0, 1.0]]);
    assert_eq!(nonzero(&counted(&[0, 2])).unwrap()[1].shape(), [0]);
}

#[test]
fn positions_that_have_left_the_tensor_are_none() {
    let rows = integers(&[0, 7, -3, 1], &[4]);
    let columns = integers(&[-1, 0, 0, i64::MIN], &[4]);
    let op = Flatten { sizes: Dims::from_slice(&[2, 3]), first_dim: SmallVec::from_slice(&[0, 1]) };
    let places = &run_unchecked(&op, &[&rows, &columns])[0];
    assert_eq!(places.view().slice::<i64>(), [2, -1, -1, -1]);
}
