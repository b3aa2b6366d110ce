//! A place in the arena for every buffer: two share memory if no barrier interval needs both.

use super::program::{Home, Program};

/// Arena buffers begin at multiples of this: two cache lines, which processors fetch together.
const ALIGNMENT: usize = 128;

/// First and last barrier interval in which each buffer is touched.
fn lifetimes(program: &Program) -> Vec<Option<(usize, usize)>> {
    let mut lives: Vec<Option<(usize, usize)>> = vec![None; program.buffers.len()];
    let mut interval = 0;
    for (barrier, stage) in &program.stages {
        interval += usize::from(*barrier);
        let touches = stage.touches();
        for &b in touches.reads.iter().chain(&touches.writes) {
            let life = lives[b].get_or_insert((interval, interval));
            life.1 = interval;
        }
    }
    // The loss is read after the last stage, while the next step may have begun.
    if let Some(life) = &mut lives[program.loss.0] {
        *life = (0, interval + 1);
    }
    lives
}

/// Give every arena buffer its offset; largest first, each in the lowest gap among those that live at the same time.
pub fn place(program: &mut Program) {
    let lives = lifetimes(program);
    let mut order: Vec<usize> = (0..program.buffers.len())
        .filter(|&b| matches!(program.buffers[b].home, Home::Arena(_)) && lives[b].is_some())
        .collect();
    order.sort_by_key(|&b| std::cmp::Reverse(program.buffers[b].bytes));
    let mut placed: Vec<(usize, usize, (usize, usize))> = Vec::new();
    for b in order {
        let life = lives[b].expect("filtered above");
        let bytes = program.buffers[b].bytes.next_multiple_of(ALIGNMENT);
        let mut taken: Vec<(usize, usize)> =
            placed.iter().filter(|p| p.2.0 <= life.1 && life.0 <= p.2.1).map(|p| (p.0, p.1)).collect();
        taken.sort_unstable();
        let mut offset = 0;
        for (start, end) in taken {
            if offset + bytes <= start {
                break;
            }
            offset = offset.max(end);
        }
        placed.push((offset, offset + bytes, life));
        program.buffers[b].home = Home::Arena(offset);
        program.arena = program.arena.max(offset + bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::element::DType;
    use crate::plan::program::{Buffer, Features, Operand};
    use crate::plan::stages::{Stage, ToFeatures};
    use crate::tensor::Layout;

    fn copy(from: usize, to: usize) -> (bool, Stage) {
        let from = Operand { buffer: from, layout: Layout::contiguous(&[4, 4]), dtype: DType::F32 };
        (false, ToFeatures { from, to: Features { buffer: to, ld: 16 }, samples: 4, features: 4 }.into())
    }

    #[test]
    fn buffers_share_memory_only_when_a_barrier_parts_them() {
        let buffers = (0..4).map(|_| Buffer { bytes: 256, home: Home::Arena(0) }).collect();
        let stages = vec![copy(0, 1), copy(1, 2), copy(2, 3)];
        let mut program = Program { buffers, stages, loss: (3, 0, DType::F32), ..Program::new(None) };
        program.set_barriers();
        assert_eq!(program.stages.iter().map(|s| s.0).collect::<Vec<_>>(), [false, true, true]);
        place(&mut program);
        let offset = |b: usize| match program.buffers[b].home {
            Home::Arena(offset) => offset,
            _ => unreachable!(),
        };
        assert_ne!(offset(0), offset(1));
        assert_ne!(offset(1), offset(2));
        assert_ne!(offset(2), offset(3));
        assert_eq!(program.arena, 768, "buffers 0 and 2 do not live at the same time; the loss lives always");
    }
}
