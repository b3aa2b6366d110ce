//! Every test that needs a real team has a pool of its own: the process' pool may be with another test.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use proptest::prelude::*;

use super::*;

fn pool() -> &'static Pool {
    Box::leak(Box::new(Pool::new()))
}

fn member_of(rank: usize, size: usize) -> Team {
    Team { rank, size, meeting: None }
}

proptest! {
    #[test]
    fn shares_partition(tasks in 0_usize..10_000, size in 1_usize..70, granule in 1_usize..70) {
        let (mut next, mut next_aligned) = (0, 0);
        for rank in 0..size {
            let team = member_of(rank, size);
            let share = team.share(tasks);
            prop_assert_eq!(share.start, next);
            prop_assert!(share.len() == tasks / size || share.len() == tasks / size + 1);
            next = share.end;

            let share = team.share_aligned(tasks, granule);
            prop_assert_eq!(share.start, next_aligned);
            prop_assert!(share.start.is_multiple_of(granule) || share.start == tasks);
            prop_assert!(share.end.is_multiple_of(granule) || share.end == tasks);
            prop_assert!(share.len() <= tasks.div_ceil(granule).div_ceil(size) * granule);
            next_aligned = share.end;
        }
        prop_assert_eq!(next, tasks);
        prop_assert_eq!(next_aligned, tasks);
    }
}

#[test]
fn shares_do_not_overflow() {
    assert_eq!(member_of(6, 7).share(usize::MAX).end, usize::MAX);
    assert_eq!(member_of(6, 7).share_aligned(usize::MAX, 1000).end, usize::MAX);
}

/// Each member once, none twice, rank 0 on the calling thread; the widths go up and down.
#[test]
fn every_member_runs_once() {
    let pool = pool();
    let caller = thread::current().id();
    for width in [2, 7, 3, 2, 5, 7] {
        let runs: Vec<_> = (0..width).map(|_| AtomicUsize::new(0)).collect();
        assert_eq!(
            width,
            pool.run(width, 0, &|team| {
                assert_eq!(team.size(), width);
                assert_eq!(team.rank() == 0, thread::current().id() == caller);
                runs[team.rank()].fetch_add(1, Ordering::Relaxed);
            })
        );
        assert!(runs.iter().all(|r| r.load(Ordering::Relaxed) == 1), "{width}: {runs:?}");
    }
}

#[test]
fn many_regions() {
    let pool = pool();
    // Seven are more than there are cores on most machines: few regions, so that the test stays short there.
    for (width, regions) in [(2, 100_000), (3, 20_000), (7, 2_000)] {
        let sum = AtomicUsize::new(0);
        for _ in 0..regions {
            assert_eq!(
                width,
                pool.run(width, 0, &|team| {
                    sum.fetch_add(team.rank() + 1, Ordering::Relaxed);
                })
            );
        }
        assert_eq!(sum.into_inner(), regions * width * (width + 1) / 2);
    }
    let ran = AtomicUsize::new(0);
    for _ in 0..100_000 {
        region(1, 0, &|team| {
            assert_eq!(team.size(), 1);
            ran.fetch_add(1, Ordering::Relaxed);
        });
    }
    assert_eq!(ran.into_inner(), 100_000);
}

/// No member enters a phase before all have ended the one before.
#[test]
fn barrier_separates_phases() {
    let pool = pool();
    for (width, phases) in [(2, 20_000), (3, 5_000), (7, 500)] {
        let ended: Vec<_> = (0..phases).map(|_| AtomicUsize::new(0)).collect();
        assert_eq!(
            width,
            pool.run(width, 0, &|team| {
                for (phase, now) in ended.iter().enumerate() {
                    if phase > 0 {
                        assert_eq!(ended[phase - 1].load(Ordering::Relaxed), width);
                    }
                    now.fetch_add(1, Ordering::Relaxed);
                    team.barrier();
                }
            })
        );
    }
}

/// A member that comes late finds the others asleep.
#[test]
fn sleepers_wake() {
    let pool = pool();
    for late in 0..3 {
        assert_eq!(
            3,
            pool.run(3, 0, &|team| {
                for _ in 0..3 {
                    if team.rank() == late {
                        thread::sleep(std::time::Duration::from_millis(2));
                    }
                    team.barrier();
                }
                // And now the join, or the workers' wait for it.
                if team.rank() == late {
                    thread::sleep(std::time::Duration::from_millis(2));
                }
            })
        );
        thread::sleep(std::time::Duration::from_millis(2));
    }
}

#[test]
fn nested_region_is_solo() {
    let pool = pool();
    let inner = AtomicUsize::new(0);
    assert_eq!(
        3,
        pool.run(3, 0, &|team| {
            let outer = team.rank();
            region(3, 0, &|team| {
                assert_eq!((team.rank(), team.size()), (0, 1));
                inner.fetch_add(outer + 1, Ordering::Relaxed);
                team.barrier();
            });
            assert!(pool.run(2, 0, &|_| unreachable!()) == 1);
        })
    );
    assert_eq!(inner.into_inner(), 6);
}

/// Through `region` itself: whoever does not get the workers is a team of one; all work is done all the same.
#[test]
fn callers_at_the_same_time() {
    thread::scope(|scope| {
        for caller in 1..=4 {
            scope.spawn(move || {
                for n in 0..2_000 {
                    let done = AtomicUsize::new(0);
                    region(2, 0, &|team| {
                        done.fetch_add(team.share(n).len() * caller, Ordering::Relaxed);
                        team.barrier();
                        assert_eq!(done.load(Ordering::Relaxed), n * caller);
                    });
                }
            });
        }
    });
}

#[test]
fn busy_pool_refuses() {
    let pool = pool();
    assert_eq!(
        2,
        pool.run(2, 0, &|team| {
            if team.rank() == 0 {
                thread::scope(|scope| {
                    let refused = scope.spawn(|| pool.run(2, 0, &|_| unreachable!()) == 1).join().unwrap();
                    assert!(refused);
                });
            }
        })
    );
}

/// Message of the panic of a region.
fn panic_of(pool: &'static Pool, width: usize, work: &(dyn Fn(&Team) + Sync)) -> String {
    let payload = catch_unwind(AssertUnwindSafe(|| pool.run(width, 0, work))).expect_err("the panic was lost");
    payload.downcast_ref::<String>().expect("a panic with a message").clone()
}

#[test]
fn panic_reaches_the_caller_and_frees_the_others() {
    let pool = pool();
    for width in [2, 3, 7] {
        for culprit in [0, 1, width - 1] {
            for barriers_before in [0, 1, 3] {
                let passed = AtomicUsize::new(0);
                let message = panic_of(pool, width, &|team| {
                    for _ in 0..barriers_before {
                        team.barrier();
                    }
                    assert!(team.rank() != culprit, "member {culprit} of {width}");
                    team.barrier();
                    passed.fetch_add(1, Ordering::Relaxed);
                });
                assert_eq!(message, format!("member {culprit} of {width}"));
                assert_eq!(passed.into_inner(), 0);

                let ran = AtomicUsize::new(0);
                assert_eq!(
                    width,
                    pool.run(width, 0, &|team| {
                        team.barrier();
                        ran.fetch_add(1, Ordering::Relaxed);
                    })
                );
                assert_eq!(ran.into_inner(), width);
            }
        }
    }
}

/// Member 1 panics while the others have long been asleep at the barrier; and the first of two panics is the one.
#[test]
fn late_and_double_panics() {
    let pool = pool();
    let message = panic_of(pool, 3, &|team| {
        if team.rank() == 1 {
            thread::sleep(std::time::Duration::from_millis(5));
            panic!("late {}", team.rank());
        }
        team.barrier();
    });
    assert_eq!(message, "late 1");

    // On a busy machine member 1 may have begun to panic, and not got far.
    let first = (2..11).any(|doublings| {
        let order = Mutex::new(Vec::new());
        let message = panic_of(pool, 2, &|team| {
            if team.rank() == 0 {
                while order.lock().unwrap().is_empty() {
                    thread::yield_now();
                }
                thread::sleep(std::time::Duration::from_millis(1 << doublings));
            }
            order.lock().unwrap().push(team.rank());
            panic!("member {}", team.rank());
        });
        assert_eq!(order.into_inner().unwrap(), [1, 0]);
        message == "member 1"
    });
    assert!(first);
}

/// The second thread finds the lock held. A short pause may not decide the order on a busy machine, so it grows.
#[cfg(debug_assertions)]
#[test]
fn uneven_barriers_are_found() {
    let pool = pool();
    let messages = [
        "region: a member has returned while another waits at a barrier",
        "Team::barrier: another member has already left the region",
    ];
    for (late, expected) in [1, 0].into_iter().zip(messages) {
        let found = (1..11).any(|doublings| {
            let message = panic_of_any(pool, &|team| {
                if team.rank() == late {
                    thread::sleep(std::time::Duration::from_millis(1 << doublings));
                }
                if team.rank() == 0 {
                    team.barrier();
                }
            });
            assert!(messages.contains(&message), "{message}");
            message == expected
        });
        assert!(found, "{expected}");
    }
}

#[cfg(debug_assertions)]
fn panic_of_any(pool: &'static Pool, work: &(dyn Fn(&Team) + Sync)) -> &'static str {
    let payload = catch_unwind(AssertUnwindSafe(|| pool.run(2, 0, work))).expect_err("the panic was lost");
    payload.downcast_ref::<&str>().copied().expect("a panic with a message")
}

#[cfg(unix)]
mod forked {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    /// Run `child` in a forked process; true if it says so within 20 s.
    fn in_child(child: impl FnOnce() -> bool) -> bool {
        // SAFETY: the child runs `child` alone and leaves by `_exit`; an alarm ends it if it hangs.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "fork failed");
        if pid == 0 {
            // SAFETY: a plain call.
            unsafe { libc::alarm(20) };
            let right = catch_unwind(AssertUnwindSafe(child)).unwrap_or(false);
            // SAFETY: a plain call, which ends the process without the test harness' exit handlers.
            unsafe { libc::_exit(if right { 42 } else { 1 }) };
        }
        let mut status = 0;
        // SAFETY: `status` outlives the call, and `pid` is our child.
        let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
        waited == pid && libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 42
    }

    /// True if the process' pool runs a team of `width` now.
    fn team_runs(width: usize) -> bool {
        let members = AtomicUsize::new(0);
        let ran = Pool::get().run(width, 0, &|team| {
            members.fetch_add(1, Ordering::Relaxed);
            team.barrier();
            assert_eq!(members.load(Ordering::Relaxed), team.size());
        });
        ran == width && members.into_inner() == width
    }

    #[test]
    fn child_has_its_own_workers() {
        region(2, 0, &Team::barrier);
        Pool::get().run(2, 0, &Team::barrier);
        assert!(in_child(|| team_runs(2) && team_runs(5)));
        // A child's child, too.
        assert!(in_child(|| team_runs(2) && in_child(|| team_runs(3)) && team_runs(2)));
        // And the parent's workers are still there.
        while !team_runs(2) {}
    }

    /// The fork finds the pool locked, its workers at work and sleepers at the barrier.
    #[test]
    fn child_of_a_busy_parent() {
        let (busy, stop) = (AtomicBool::new(false), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    Pool::get().run(3, 0, &|team| {
                        busy.store(true, Ordering::Relaxed);
                        if team.rank() == 0 {
                            thread::sleep(Duration::from_millis(3));
                        }
                        team.barrier();
                    });
                }
            });
            while !busy.load(Ordering::Relaxed) {
                thread::yield_now();
            }
            let right = (0..10).all(|_| in_child(|| team_runs(2) && team_runs(3)));
            stop.store(true, Ordering::Relaxed);
            assert!(right);
        });
    }

    /// Processor time of this process so far.
    fn processor_time() -> Duration {
        // SAFETY: all zeros is a valid `rusage`.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: `usage` outlives the call.
        assert_eq!(unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) }, 0);
        [usage.ru_utime, usage.ru_stime]
            .iter()
            .map(|t| Duration::from_secs(t.tv_sec as u64) + Duration::from_micros(t.tv_usec as u64))
            .sum()
    }

    /// In a process of its own, so that no other test's time is counted.
    #[test]
    fn idle_workers_sleep() {
        assert!(in_child(|| {
            let ran = team_runs(4);
            let before = processor_time();
            thread::sleep(Duration::from_millis(200));
            ran && processor_time() <= before + Duration::from_millis(50)
        }));
    }
}
