//! How is work that finds more work (folders in folders) shared among threads?

use std::sync::{Condvar, Mutex, MutexGuard};

/// Fewer tasks than this are done before a thread has started.
const WORTH_THREADS: usize = 8;

/// Tasks that wait, and how many are being worked on.
pub(crate) struct Queue<T, E> {
    state: Mutex<State<T, E>>,
    changed: Condvar,
}

struct State<T, E> {
    /// The last one first: deep before wide, so that the list stays short.
    waiting: Vec<T>,
    n_running: usize,
    /// Threads that wait for a task: waking nobody would be a system call all the same.
    n_idle: usize,
    failure: Option<E>,
}

impl<T, E> Queue<T, E> {
    /// Adds tasks.
    pub(crate) fn extend(&self, tasks: impl IntoIterator<Item = T>) {
        let mut state = self.lock();
        state.waiting.extend(tasks);
        self.wake_idle(state);
    }

    fn wake_idle(&self, state: MutexGuard<'_, State<T, E>>) {
        let n_idle = state.n_idle;
        drop(state);
        if n_idle > 0 {
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T, E>> {
        self.state.lock().expect("because no task runs while the lock is held")
    }

    /// The next task, once there is one; `None` when all is done or something failed.
    fn take(&self) -> Option<T> {
        let mut state = self.lock();
        loop {
            if state.failure.is_some() {
                return None;
            }
            if let Some(task) = state.waiting.pop() {
                state.n_running += 1;
                return Some(task);
            }
            if state.n_running == 0 {
                return None;
            }
            state.n_idle += 1;
            state = self.changed.wait(state).expect("because no task runs while the lock is held");
            state.n_idle -= 1;
        }
    }

    fn finish(&self, result: Result<(), E>) {
        let mut state = self.lock();
        state.n_running -= 1;
        if let Err(error) = result {
            state.failure.get_or_insert(error);
        }
        self.wake_idle(state);
    }
}

/// Runs `first` and all tasks that tasks add, on all processors where that pays. The first failure ends it.
pub(crate) fn work<T: Send, E: Send>(
    first: Vec<T>,
    run: impl Fn(T, &Queue<T, E>) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let state = State { waiting: first, n_running: 0, n_idle: 0, failure: None };
    let queue = Queue { state: Mutex::new(state), changed: Condvar::new() };
    let work_until = |is_enough: &dyn Fn() -> bool| {
        while !is_enough() {
            let Some(task) = queue.take() else { return };
            // If a task panics the others must not wait for it for ever.
            let guard = FinishOnDrop(&queue);
            let result = run(task, &queue);
            std::mem::forget(guard);
            queue.finish(result);
        }
    };
    work_until(&|| queue.lock().waiting.len() >= WORTH_THREADS);
    let n_threads = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 16);
    if !queue.lock().waiting.is_empty() {
        std::thread::scope(|scope| {
            for _ in 1..n_threads {
                scope.spawn(|| work_until(&|| false));
            }
            work_until(&|| false);
        });
    }
    match queue.lock().failure.take() {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Counts a task as done that ended by a panic.
struct FinishOnDrop<'a, T, E>(&'a Queue<T, E>);

impl<T, E> Drop for FinishOnDrop<'_, T, E> {
    fn drop(&mut self) {
        self.0.finish(Ok(()));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn tasks_of_tasks_are_all_done() {
        let n_done = AtomicUsize::new(0);
        let result = work(vec![10_u32], |depth, queue: &Queue<u32, ()>| {
            n_done.fetch_add(1, Ordering::Relaxed);
            if depth > 0 {
                queue.extend([depth - 1, depth - 1]);
            }
            Ok(())
        });
        assert_eq!(result, Ok(()));
        assert_eq!(n_done.into_inner(), 2047);
    }

    #[test]
    fn a_failure_ends_the_work() {
        let result = work((0..1000).collect(), |n, _: &Queue<_, _>| if n == 500 { Err(n) } else { Ok(()) });
        assert_eq!(result, Err(500));
    }
}
