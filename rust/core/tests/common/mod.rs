//! Dense nets trained eagerly and by plan, for tests and the example that times them.

use std::sync::Arc;

use fastnn_core::ops::cross_entropy::{Reduction, cross_entropy};
use fastnn_core::optim::{Adam, Progress, Rule};
use fastnn_core::plan::{Parameter, Plan};
use fastnn_core::tensor::tape;
use fastnn_core::tensor::trace;
use fastnn_core::{Float, Result, Tensor, ops};

/// A dense net: widths, batch, and what stands between layers.
#[derive(Clone, Copy, Debug)]
pub struct Net {
    pub name: &'static str,
    pub widths: &'static [usize],
    pub batch: usize,
    pub batch_norm: bool,
    pub dropout: f64,
}

/// The nets that are timed.
pub const NETS: [Net; 7] = [
    Net { name: "iris", widths: &[4, 16, 16, 3], batch: 16, batch_norm: false, dropout: 0.0 },
    Net { name: "narrow", widths: &[10, 46, 46, 10], batch: 128, batch_norm: false, dropout: 0.0 },
    Net { name: "rl", widths: &[17, 64, 64, 6], batch: 256, batch_norm: false, dropout: 0.0 },
    Net { name: "mnist", widths: &[784, 256, 128, 10], batch: 64, batch_norm: false, dropout: 0.0 },
    Net { name: "regul", widths: &[784, 512, 256, 10], batch: 128, batch_norm: true, dropout: 0.5 },
    Net { name: "paper", widths: &[784, 1024, 1024, 1024, 10], batch: 100, batch_norm: false, dropout: 0.5 },
    Net { name: "wide", widths: &[2048, 2048, 2048, 10], batch: 512, batch_norm: false, dropout: 0.0 },
];

/// A net's tensors and its optimizer.
pub struct Model {
    pub net: Net,
    pub params: Vec<Tensor>,
    pub running: Vec<(Tensor, Tensor)>,
    pub state: Vec<Vec<Tensor>>,
    pub progress: Progress,
}

/// Numbers between −1 and 1 that repeat after a long while.
pub fn noise<T: Float>(n: usize, seed: u64) -> Vec<T> {
    let mut s = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..n)
        .map(|_| {
            s ^= s << 13;
            s ^= s >> 7;
            s ^= s << 17;
            T::from_f64((s >> 11) as f64 / (1_u64 << 52) as f64 - 1.0)
        })
        .collect()
}

pub const RULE: Rule = Rule::Adam(Adam {
    lr: 1e-3,
    betas: (0.9, 0.999),
    eps: 1e-8,
    weight_decay: 0.0,
    decoupled_weight_decay: false,
    amsgrad: false,
    maximize: false,
});

impl Model {
    pub fn new<T: Float>(net: Net) -> Self {
        let mut params = Vec::new();
        let mut running = Vec::new();
        let layers = net.widths.len() - 1;
        for (i, w) in net.widths.windows(2).enumerate() {
            let scale = T::from_f64((3.0 / w[0] as f64).sqrt());
            let weight: Vec<T> = noise::<T>(w[0] * w[1], i as u64 + 1).into_iter().map(|v| v * scale).collect();
            params.push(Tensor::from_slice(&weight, &[w[1], w[0]]));
            params.push(Tensor::from_slice(&noise::<T>(w[1], 77), &[w[1]]));
            if net.batch_norm && i + 1 < layers {
                params.push(Tensor::full(&[w[1]], 1.25, T::DTYPE));
                params.push(Tensor::full(&[w[1]], 0.125, T::DTYPE));
                running.push((Tensor::zeros(&[w[1]], T::DTYPE), Tensor::full(&[w[1]], 1.0, T::DTYPE)));
            }
        }
        for p in &params {
            p.set_requires_grad(true).unwrap();
        }
        let state = params
            .iter()
            .map(|p| vec![Tensor::zeros(p.shape(), p.dtype()), Tensor::zeros(p.shape(), p.dtype())])
            .collect();
        Self { net, params, running, state, progress: Progress::default() }
    }

    pub fn batch<T: Float>(&self, seed: u64) -> [Tensor; 2] {
        let (n, k, c) = (self.net.batch, self.net.widths[0], self.net.widths[self.net.widths.len() - 1]);
        let labels: Vec<i64> = (0..n).map(|i| ((i as u64 * 7 + seed) % c as u64) as i64).collect();
        [Tensor::from_slice(&noise::<T>(n * k, seed + 100), &[n, k]), Tensor::from_slice(&labels, &[n])]
    }

    fn loss(&self, [x, y]: &[Tensor; 2]) -> Result<Tensor> {
        let mut h = x.clone();
        let mut params = self.params.iter();
        let layers = self.net.widths.len() - 1;
        for i in 0..layers {
            h = ops::linear::linear(&h, params.next().unwrap(), params.next())?;
            if i + 1 == layers {
                break;
            }
            if self.net.batch_norm {
                let settings = ops::batch_norm::Settings { training: true, momentum: 0.1, eps: 1e-5 };
                let (mean, var) = &self.running[i];
                let (weight, bias) = (params.next(), params.next());
                h = ops::batch_norm::batch_norm(&h, Some((mean, var)), weight, bias, settings)?;
            }
            h = ops::activation::relu(&h)?;
            if self.net.dropout > 0.0 {
                h = ops::dropout::dropout(&h, self.net.dropout, true)?;
            }
        }
        cross_entropy(&h, y, None, Reduction::Mean, -100, 0.0)
    }

    /// One eager step; the gradients stay.
    pub fn eager(&mut self, batch: &[Tensor; 2]) -> Result<Tensor> {
        for p in &self.params {
            p.set_grad(None);
        }
        let loss = self.loss(batch)?;
        tape::backward(&loss, None, false)?;
        Ok(loss)
    }

    pub fn update(&mut self) {
        for (p, state) in self.params.iter().zip(&self.state) {
            let grad = ops::contiguous(&p.grad().unwrap()).unwrap();
            fastnn_core::with_float!(p.dtype(), T => {
                let n = p.numel();
                // SAFETY: one thread.
                unsafe {
                    let mut state: Vec<&mut [T]> = state.iter().map(|s| s.view().part::<T>(0..n)).collect();
                    RULE.update(&self.progress, p.view().part::<T>(0..n), grad.view().slice::<T>(), &mut state);
                }
            });
            p.storage().bump();
        }
        RULE.advance(&mut self.progress);
    }

    /// Trace an eager step and plan it.
    pub fn plan(&mut self, batch: &[Tensor; 2]) -> Result<Plan> {
        let drawn_from = ops::random::state();
        trace::start();
        let loss = self.eager(batch)?;
        let trace = trace::finish().unwrap();
        let mut params: Vec<Parameter> = Vec::new();
        let mut position = 0;
        for (value, state) in self.params.iter().zip(&self.state) {
            let (value, state, grad) = (value.clone(), state.clone(), value.grad().unwrap());
            let next = position + value.numel();
            params.push(Parameter { value, state, grad, position, max_norm: None, average: None });
            position = next;
        }
        let plan = Plan::new(&trace, batch, &loss, &params, drawn_from, Arc::default())?;
        self.update();
        Ok(plan)
    }
}
