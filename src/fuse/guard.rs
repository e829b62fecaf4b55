//! Keeping a panic inside its handler, and a thread on its processor.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::fuse::Log;

/// Runs a handler. If it panics, the reply that it held is dropped, which tells
/// the kernel EIO, and the log gets a line.
pub(crate) fn guarded(log: &Log, operation: &'static str, handler: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(handler)) {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        log(&format!("Internal error in {operation}: {text}; answered with an I/O error"));
    }
}

/// Spreads threads over the processors that the process may use, one each: an
/// idle processor takes about 140 us to wake up for a request, a thread that
/// stays where it is 27 (measured on a two-core virtual machine).
#[derive(Debug, Default)]
pub(crate) struct Pinning {
    next: AtomicUsize,
}

thread_local! {
    static PINNED: Cell<bool> = const { Cell::new(false) };
}

impl Pinning {
    /// Pins the calling thread, once.
    pub(crate) fn pin(&self) {
        if PINNED.replace(true) {
            return;
        }
        let Ok(allowed) = sched_getaffinity(None) else { return };
        let processors: Vec<usize> =
            (0..CpuSet::MAX_CPU).filter(|number| allowed.is_set(*number)).collect();
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        if let Some(processor) = processors.get(turn % processors.len().max(1)) {
            let mut one = CpuSet::new();
            one.set(*processor);
            // Refused in some containers; then the scheduler decides.
            let _ = sched_setaffinity(None, &one);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[test]
    fn a_panic_ends_its_handler_with_a_line_in_the_log_and_nothing_else() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = lines.clone();
        let log: Log = Arc::new(move |line| sink.lock().unwrap().push(line.to_owned()));
        guarded(&log, "read", || panic!("out of cheese"));
        guarded(&log, "read", || {});
        let lines = lines.lock().unwrap();
        assert_eq!(lines.len(), 1);
        assert!(lines[0].contains("read") && lines[0].contains("out of cheese"), "{lines:?}");
    }
}
