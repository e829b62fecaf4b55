//! Progress for people: a line on standard error while a command works.

use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::base::format;
use crate::base::name::printable;
use crate::base::progress::Monitor;
use crate::cli::signals::Signals;

/// How often the line is drawn at most.
const DRAWS_PER_SECOND: u8 = 10;
/// Items between two refreshes of the path shown.
const PATH_INTERVAL: u64 = 32;

/// Shows progress if asked to, prints warnings, and knows of signals.
pub(crate) struct Terminal {
    bar: Option<ProgressBar>,
    quiet: bool,
    signals: Signals,
    items: AtomicU64,
    bytes: AtomicU64,
    phase: Mutex<String>,
}

impl Terminal {
    pub(crate) fn new(show: bool, quiet: bool, signals: Signals) -> Self {
        let bar = show.then(|| {
            let target = ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND);
            let bar = ProgressBar::with_draw_target(None, target);
            if let Ok(style) = ProgressStyle::with_template("{spinner} [{elapsed}] {wide_msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self {
            bar,
            quiet,
            signals,
            items: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            phase: Mutex::default(),
        }
    }

    /// Takes the line away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn show(&self, bar: &ProgressBar, path: &str) {
        let items = format::count(self.items.load(Ordering::Relaxed));
        let bytes = format::bytes(self.bytes.load(Ordering::Relaxed));
        let phase = self.phase.lock().map(|phase| phase.clone()).unwrap_or_default();
        bar.set_message(format!("{phase}{items} items, {bytes}  {path}"));
    }
}

impl Monitor for Terminal {
    fn path(&self, path: &Path) {
        let Some(bar) = &self.bar else { return };
        if self.items.load(Ordering::Relaxed).is_multiple_of(PATH_INTERVAL) {
            self.show(bar, &printable(path.as_os_str().as_encoded_bytes()));
        }
    }

    fn advance(&self, items: u64, bytes: u64) {
        self.items.fetch_add(items, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn warn(&self, message: &str) {
        if self.quiet {
            return;
        }
        let print = || {
            let _ = writeln!(io::stderr(), "icecore: {message}");
        };
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    fn phase(&self, name: &str) {
        if let Ok(mut phase) = self.phase.lock() {
            *phase = format!("{name}: ");
        }
        self.items.store(0, Ordering::Relaxed);
        if let Some(bar) = &self.bar {
            self.show(bar, "");
        }
    }

    fn cancelled(&self) -> bool {
        self.signals.received().is_some()
    }
}
