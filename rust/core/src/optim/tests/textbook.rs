//! The formulas once more, element by element in plain f64, and settings to try them with.

use crate::optim::{
    Adadelta, Adagrad, Adam, AdamW, Adamax, Asgd, Lion, NAdam, Nesterov, RAdam, RmsProp, Rprop, Rule, Sgd,
};

/// One element's whole history by the textbook: gradients in, parameter after each step out.
pub fn textbook(rule: &Rule, mut x: f64, grads: &[f64]) -> Vec<f64> {
    let (mut a, mut b, mut c) = (rule.initial_state(0), 0.0_f64, 0.0_f64);
    // NAdam's product of momenta; Rprop's step size; ASGD's rate.
    let mut scalar = if let Rule::Rprop(Rprop { lr, .. }) | Rule::Asgd(Asgd { lr, .. }) = *rule { lr } else { 1.0 };
    let mut walk = Vec::new();
    for (i, &grad) in grads.iter().enumerate() {
        let t = (i + 1) as i32;
        let signed = |maximize: bool| if maximize { -grad } else { grad };
        match *rule {
            Rule::Sgd(s) => {
                let g = signed(s.maximize) + s.weight_decay * x;
                a = if t == 1 { g } else { s.momentum * a + (1.0 - s.dampening) * g };
                let velocity = if s.nesterov { g + s.momentum * a } else { a };
                x -= s.lr * if s.momentum == 0.0 { g } else { velocity };
            }
            Rule::Adagrad(s) => {
                let g = signed(s.maximize) + s.weight_decay * x;
                a += g * g;
                x -= s.lr / (1.0 + f64::from(t - 1) * s.lr_decay) * g / (a.sqrt() + s.eps);
            }
            Rule::Adadelta(s) => {
                let g = signed(s.maximize) + s.weight_decay * x;
                a = s.rho * a + (1.0 - s.rho) * g * g;
                let delta = (b + s.eps).sqrt() / (a + s.eps).sqrt() * g;
                b = s.rho * b + (1.0 - s.rho) * delta * delta;
                x -= s.lr * delta;
            }
            Rule::RmsProp(s) => {
                let g = signed(s.maximize) + s.weight_decay * x;
                a = s.alpha * a + (1.0 - s.alpha) * g * g;
                c = s.alpha * c + (1.0 - s.alpha) * g;
                let variance = if s.centered { a - c * c } else { a };
                b = s.momentum * b + g / (variance.sqrt() + s.eps);
                x -= s.lr * b;
            }
            Rule::Nesterov(s) => {
                // ∂ is given, so that only the decay sees the look-ahead point.
                let g = signed(s.maximize) + s.weight_decay * (x - s.lr * s.momentum * a);
                a = s.momentum * a + g;
                x -= s.lr * a;
            }
            Rule::Rprop(s) => {
                let g = signed(s.maximize);
                scalar = rprop_size(&s, scalar, g * a);
                a = if g * a < 0.0 { 0.0 } else { g };
                x -= if a == 0.0 { 0.0 } else { scalar * a.signum() };
            }
            Rule::Asgd(s) => {
                let g = signed(s.maximize) + s.weight_decay * x;
                x -= scalar * (s.lambd * x + g);
                scalar = s.lr / (1.0 + s.lambd * s.lr * f64::from(t)).powf(s.alpha);
            }
            Rule::Adamax(s) => {
                let g = signed(s.maximize) + s.weight_decay * x;
                a = s.betas.0 * a + (1.0 - s.betas.0) * g;
                b = (s.betas.1 * b).max(g.abs() + s.eps);
                x -= s.lr / (1.0 - s.betas.0.powi(t)) * a / b;
            }
            Rule::NAdam(s) => {
                let mu = |t: i32| s.betas.0 * (1.0 - 0.5 * 0.96_f64.powf(f64::from(t) * s.momentum_decay));
                scalar *= mu(t);
                let g = signed(s.maximize) + if s.decoupled_weight_decay { 0.0 } else { s.weight_decay * x };
                x -= if s.decoupled_weight_decay { s.lr * s.weight_decay * x } else { 0.0 };
                a = s.betas.0 * a + (1.0 - s.betas.0) * g;
                b = s.betas.1 * b + (1.0 - s.betas.1) * g * g;
                let mean = mu(t + 1) * a / (1.0 - scalar * mu(t + 1)) + (1.0 - mu(t)) * g / (1.0 - scalar);
                x -= s.lr * mean / ((b / (1.0 - s.betas.1.powi(t))).sqrt() + s.eps);
            }
            Rule::RAdam(s) => {
                let g = signed(s.maximize) + if s.decoupled_weight_decay { 0.0 } else { s.weight_decay * x };
                x -= if s.decoupled_weight_decay { s.lr * s.weight_decay * x } else { 0.0 };
                a = s.betas.0 * a + (1.0 - s.betas.0) * g;
                b = s.betas.1 * b + (1.0 - s.betas.1) * g * g;
                let mean = a / (1.0 - s.betas.0.powi(t));
                x -= s.lr * mean * radam_scale(&s, t, b);
            }
            Rule::Lion(s) => {
                let g = signed(s.maximize);
                let ahead = s.betas.0 * a + (1.0 - s.betas.0) * g;
                x -= s.lr * (ahead.signum() + s.weight_decay * x);
                a = s.betas.1 * a + (1.0 - s.betas.1) * g;
            }
            Rule::Adam(Adam { lr, betas, eps, amsgrad, maximize, .. })
            | Rule::AdamW(AdamW { lr, betas, eps, amsgrad, maximize, .. }) => {
                let mut g = signed(maximize);
                match *rule {
                    Rule::Adam(s) if s.decoupled_weight_decay => x -= lr * s.weight_decay * x,
                    Rule::Adam(s) => g += s.weight_decay * x,
                    Rule::AdamW(s) if s.decoupled_weight_decay => x -= lr * s.weight_decay * x,
                    Rule::AdamW(s) => g += s.weight_decay * x,
                    _ => unreachable!(),
                }
                a = betas.0 * a + (1.0 - betas.0) * g;
                b = betas.1 * b + (1.0 - betas.1) * g * g;
                c = if amsgrad { c.max(b) } else { b };
                let mean = a / (1.0 - betas.0.powi(t));
                x -= lr * mean / ((c / (1.0 - betas.1.powi(t))).sqrt() + eps);
            }
        }
        walk.push(x);
    }
    walk
}

/// The next step size of Rprop, after a gradient whose product with the last one is `agreement`.
fn rprop_size(s: &Rprop, size: f64, agreement: f64) -> f64 {
    let factor = match agreement {
        a if a > 0.0 => s.etas.1,
        a if a < 0.0 => s.etas.0,
        _ => 1.0,
    };
    (size * factor).clamp(s.step_sizes.0, s.step_sizes.1)
}

/// Factor of `RAdam`'s corrected mean, with `square` as the average of squares.
fn radam_scale(s: &RAdam, t: i32, square: f64) -> f64 {
    let kept = s.betas.1.powi(t);
    let most = 2.0 / (1.0 - s.betas.1) - 1.0;
    let length = most - 2.0 * f64::from(t) * kept / (1.0 - kept);
    if length <= 5.0 {
        return 1.0;
    }
    let r = ((length - 4.0) * (length - 2.0) * most / ((most - 4.0) * (most - 2.0) * length)).sqrt();
    r * (1.0 - kept).sqrt() / (square.sqrt() + s.eps)
}

/// Settings far from the defaults and from each other, so that one left unread shows.
pub fn cases() -> Vec<Rule> {
    let sgd = Sgd { lr: 0.17, momentum: 0.7, dampening: 0.3, weight_decay: 0.2, nesterov: false, maximize: false };
    let adagrad = Adagrad {
        lr: 0.3,
        lr_decay: 0.4,
        weight_decay: 0.2,
        initial_accumulator_value: 0.6,
        eps: 0.5,
        maximize: false,
    };
    let adadelta = Adadelta { lr: 0.8, rho: 0.6, eps: 0.3, weight_decay: 0.2, maximize: false };
    let rmsprop =
        RmsProp { lr: 0.2, alpha: 0.7, eps: 0.4, weight_decay: 0.3, momentum: 0.6, centered: true, maximize: false };
    let adam = Adam { lr: 0.2, betas: (0.6, 0.7), eps: 0.3, weight_decay: 0.4, ..Adam::default() };
    let adamw = AdamW { lr: 0.2, betas: (0.8, 0.6), eps: 0.5, weight_decay: 0.7, ..AdamW::default() };
    let nesterov = Nesterov { lr: 0.15, momentum: 0.7, weight_decay: 0.3, maximize: false };
    let rprop = Rprop { lr: 0.1, etas: (0.4, 1.7), step_sizes: (0.03, 0.6), maximize: false };
    let asgd = Asgd { lr: 0.2, lambd: 0.3, alpha: 0.6, t0: 4.0, weight_decay: 0.2, maximize: false };
    let adamax = Adamax { lr: 0.2, betas: (0.6, 0.7), eps: 0.3, weight_decay: 0.4, maximize: false };
    let nadam = NAdam {
        lr: 0.2,
        betas: (0.8, 0.7),
        eps: 0.3,
        weight_decay: 0.4,
        momentum_decay: 0.5,
        decoupled_weight_decay: false,
        maximize: false,
    };
    // 0.93 rectifies from the seventh step on, 0.7 never does.
    let radam = RAdam {
        lr: 0.2,
        betas: (0.6, 0.93),
        eps: 0.3,
        weight_decay: 0.4,
        decoupled_weight_decay: false,
        maximize: false,
    };
    let lion = Lion { lr: 0.1, betas: (0.7, 0.6), weight_decay: 0.4, maximize: false };
    vec![
        Sgd::default().into(),
        sgd.into(),
        Sgd { nesterov: true, dampening: 0.0, ..sgd }.into(),
        Sgd { momentum: 0.0, maximize: true, ..sgd }.into(),
        Sgd { maximize: true, ..sgd }.into(),
        Adagrad::default().into(),
        adagrad.into(),
        Adagrad { maximize: true, ..adagrad }.into(),
        Adadelta::default().into(),
        adadelta.into(),
        Adadelta { maximize: true, rho: 0.3, ..adadelta }.into(),
        RmsProp::default().into(),
        rmsprop.into(),
        RmsProp { centered: false, ..rmsprop }.into(),
        RmsProp { momentum: 0.0, ..rmsprop }.into(),
        RmsProp { momentum: 0.0, centered: false, alpha: 0.2, maximize: true, ..rmsprop }.into(),
        RmsProp { alpha: 0.2, ..rmsprop }.into(),
        Adam::default().into(),
        adam.into(),
        Adam { amsgrad: true, ..adam }.into(),
        Adam { betas: (0.0, 0.0), maximize: true, ..adam }.into(),
        Adam { betas: (0.3, 0.2), ..adam }.into(),
        Adam { decoupled_weight_decay: true, amsgrad: true, ..adam }.into(),
        Adam { decoupled_weight_decay: true, maximize: true, ..adam }.into(),
        AdamW::default().into(),
        adamw.into(),
        AdamW { amsgrad: true, maximize: true, ..adamw }.into(),
        AdamW { decoupled_weight_decay: false, ..adamw }.into(),
        Nesterov::default().into(),
        nesterov.into(),
        Nesterov { maximize: true, ..nesterov }.into(),
        Rprop::default().into(),
        rprop.into(),
        Rprop { maximize: true, ..rprop }.into(),
        Asgd::default().into(),
        asgd.into(),
        Asgd { maximize: true, t0: 0.0, ..asgd }.into(),
        Adamax::default().into(),
        adamax.into(),
        Adamax { maximize: true, ..adamax }.into(),
        NAdam::default().into(),
        nadam.into(),
        NAdam { decoupled_weight_decay: true, maximize: true, ..nadam }.into(),
        RAdam::default().into(),
        radam.into(),
        RAdam { decoupled_weight_decay: true, maximize: true, ..radam }.into(),
        RAdam { betas: (0.3, 0.7), ..radam }.into(),
        Lion::default().into(),
        lion.into(),
        Lion { maximize: true, betas: (0.3, 0.9), ..lion }.into(),
    ]
}
