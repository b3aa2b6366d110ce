//! GFLOP/s of the products of a dense layer on one thread, best of many calls.
//!
//! `cargo run --release --example matmul [name part]`; `FASTNN_ISA` chooses the level. `fwd` is W·X, `dx` Wᵀ·dY, `dw`
//! dY·Xᵀ with X sample-major, `eager` x·Wᵀ; after the name come the features out and in, and the batch.

use std::time::{Duration, Instant};

use fastnn_core::kernels::matmul::{MatRef, Product, block};

/// Time that one product is repeated for.
const BUDGET: Duration = Duration::from_millis(120);

/// Rows are padded to a whole cache line and, off powers of two, by one more.
fn padded(n: usize) -> usize {
    let lines = n.div_ceil(16);
    (if lines > 8 && lines.is_multiple_of(2) { lines + 1 } else { lines }) * 16
}

fn time(name: &str, (m, n, k): (usize, usize, usize), a: (isize, isize), b: (isize, isize), ldc: usize) {
    if !name.contains(&std::env::args().nth(1).unwrap_or_default()) {
        return;
    }
    let len =
        |rows: usize, cols: usize, (rs, cs): (isize, isize)| (rows - 1) * rs as usize + (cols - 1) * cs as usize + 1;
    let x: Vec<f32> = (0..len(m, k, a)).map(|i| (i % 17) as f32 - 8.0).collect();
    let y: Vec<f32> = (0..len(k, n, b)).map(|i| (i % 13) as f32 - 6.0).collect();
    let mut c = vec![0.0_f32; m * ldc];
    let p = Product {
        m,
        n,
        k,
        a: MatRef { ptr: x.as_ptr(), row_stride: a.0, col_stride: a.1 },
        b: MatRef { ptr: y.as_ptr(), row_stride: b.0, col_stride: b.1 },
        c: c.as_mut_ptr(),
        ldc,
        accumulate: false,
        one_block: false,
    };
    let flops = 2.0 * (m * n * k) as f64;
    // Calls of less than a microsecond are timed together.
    let calls = (200_000.0 / flops).ceil() as usize;
    let (start, mut best) = (Instant::now(), f64::INFINITY);
    while start.elapsed() < BUDGET {
        let t = Instant::now();
        for _ in 0..calls {
            // SAFETY: the buffers were made for these shapes and strides.
            unsafe { block(&p, 0..m, 0..n, &mut |_| ()) };
        }
        best = best.min(t.elapsed().as_secs_f64() / calls as f64);
    }
    println!("{name} {:.1}", flops / best * 1e-9);
}

fn main() {
    for (out, inp, batch) in [
        (256, 784, 64),
        (512, 784, 128),
        (1024, 1024, 100),
        (2048, 2048, 512),
        (128, 256, 64),
        (46, 46, 128),
        (16, 16, 16),
        (16, 4, 16),
    ] {
        let ld = padded(batch);
        let shape = format!("{out}x{inp}x{batch}");
        let (i, o, l) = (inp as isize, out as isize, ld as isize);
        time(&format!("fwd_{shape}"), (out, batch, inp), (i, 1), (l, 1), ld);
        time(&format!("dx_{shape}"), (inp, batch, out), (1, i), (l, 1), ld);
        time(&format!("dw_{shape}"), (out, inp, batch), (l, 1), (padded(inp) as isize, 1), inp);
        time(&format!("eager_{shape}"), (batch, out, inp), (i, 1), (1, i), o as usize);
    }
}
