use super::*;
use crate::element::DType;
use crate::ops::gradcheck_nn::{close, gradcheck, message, noise, same_bits_for_any_team};

const REDUCTIONS: [Reduction; 3] = [Reduction::None, Reduction::Mean, Reduction::Sum];

/// Numbers in (0, 1).
fn unit(shape: &[usize], seed: u64) -> Tensor {
    let x: Vec<f64> = noise(shape, seed).to_vec_f64().iter().map(|x| 0.05 + (x + 2.0) * 0.22).collect();
    Tensor::from_slice(&x, shape)
}

#[test]
fn gradients_flow_to_input_and_target() {
    let (x, t, p, w) = (noise(&[4, 3], 1), noise(&[4, 3], 2), unit(&[4, 3], 3), unit(&[3], 4));
    for r in REDUCTIONS {
        gradcheck(&[x.clone(), t.clone()], |i| mse_loss(&i[0], &i[1], r));
        gradcheck(&[x.clone(), t.clone()], |i| l1_loss(&i[0], &i[1], r));
        gradcheck(&[x.clone(), t.clone()], |i| smooth_l1_loss(&i[0], &i[1], 0.5, r));
        gradcheck(&[x.clone(), t.clone()], |i| huber_loss(&i[0], &i[1], 1.5, r));
        gradcheck(&[p.clone(), unit(&[4, 3], 5)], |i| binary_cross_entropy(&i[0], &i[1], None, r));
        gradcheck(&[x.clone(), p.clone()], |i| {
            let w = crate::ops::cast(&w, i[0].dtype())?;
            binary_cross_entropy_with_logits(&i[0], &i[1], Some(&w), Some(&w), r)
        });
        gradcheck(&[x.clone(), p.clone()], |i| kl_div(&i[0], &i[1], false, r));
        gradcheck(&[x.clone(), t.clone()], |i| kl_div(&i[0], &i[1], true, r));
    }
    gradcheck(&[x, p], |i| kl_div_batchmean(&i[0], &i[1], false));
}

#[test]
fn reductions_and_weights_are_those_of_pytorch() {
    // More than a chunk, so that partial sums meet.
    let (x, t) = (noise(&[2, 4099], 1), noise(&[2, 4099], 2));
    let each: Vec<f64> = x.to_vec_f64().iter().zip(t.to_vec_f64()).map(|(x, t)| (x - t).powi(2)).collect();
    let sum = each.iter().sum::<f64>();
    close(&mse_loss(&x, &t, Reduction::None).unwrap(), &each, 1e-14);
    close(&mse_loss(&x, &t, Reduction::Sum).unwrap(), &[sum], 1e-12);
    close(&mse_loss(&x, &t, Reduction::Mean).unwrap(), &[sum / 8198.0], 1e-12);
    let (x, t, w) = (noise(&[2, 2], 1), unit(&[2, 2], 2), Tensor::from_slice(&[0.5, 3.0], &[2]));
    let found = binary_cross_entropy_with_logits(&x, &t, None, Some(&w), Reduction::Mean).unwrap();
    let (x, t, w) = (x.to_vec_f64(), t.to_vec_f64(), [0.5, 3.0, 0.5, 3.0]);
    let one = |i: usize| {
        let p = 1.0 / (1.0 + (-x[i]).exp());
        -(w[i] * t[i] * p.ln() + (1.0 - t[i]) * (1.0 - p).ln())
    };
    close(&found, &[(0..4).map(one).sum::<f64>() / 4.0], 1e-13);
    let empty = Tensor::zeros(&[0, 3], DType::F32);
    assert!(mse_loss(&empty, &empty, Reduction::Mean).unwrap().to_vec_f64()[0].is_nan());
    assert_eq!(mse_loss(&empty, &empty, Reduction::Sum).unwrap().to_vec_f64(), [0.0]);
}

#[test]
fn bits_do_not_depend_on_the_team() {
    let (x, t) = (noise(&[3, 5000], 1), noise(&[3, 5000], 2));
    for reduction in REDUCTIONS {
        let loss = PointLossOp { kind: PointLoss::Mse, reduction, weight: false, pos_weight: false };
        same_bits_for_any_team(&loss, &[x.clone(), t.clone()]);
        let g = if reduction == Reduction::None { noise(&[3, 5000], 3) } else { noise(&[], 3) };
        same_bits_for_any_team(&PointLossGrad { loss, target: false }, &[g, x.clone(), t.clone()]);
    }
}

#[test]
fn wrong_shapes_and_values_are_named() {
    let wrong = mse_loss(&noise(&[8, 1], 1), &noise(&[8], 1), Reduction::Mean);
    assert_eq!(message(wrong), "mse_loss: expected target of shape (8, 1); got (8,)");
    let x = Tensor::from_slice(&[0.5, 1.5], &[2]);
    let wrong = binary_cross_entropy(&x, &x, None, Reduction::Mean);
    assert_eq!(message(wrong), "binary_cross_entropy: expected input in [0, 1]; got 1.5");
}
