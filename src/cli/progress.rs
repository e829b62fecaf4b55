//! Progress while a command works: a bar on standard error for people, lines of
//! JSON on standard output for programs.

use std::io::{self, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::base::format;
use crate::base::name::printable;
use crate::base::progress::Monitor;
use crate::cli::signals::Signals;

/// How often the bar is drawn at most.
const DRAWS_PER_SECOND: u8 = 10;
/// Items between two refreshes of the path shown.
const PATH_INTERVAL: u64 = 32;
/// Time between two refreshes of the numbers shown.
const DRAW_INTERVAL: Duration = Duration::from_millis(50);
/// Time between two lines of JSON.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);
/// While nobody knows how much there is to do.
const OPEN: &str = "{spinner} {elapsed}  {prefix}\n  {wide_msg}";
/// Once somebody does.
const MEASURED: &str = "{spinner} {elapsed} [{bar:16}] {percent:>3}%  {binary_bytes_per_sec}  \
                        eta {eta}\n  {prefix}  {wide_msg}";

/// Where progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Display {
    Bar,
    Json,
    Nothing,
}

/// Shows progress, prints warnings, and knows of signals.
pub(crate) struct Terminal {
    display: Display,
    /// Drawn once there is something to show: a prompt may come before that.
    bar: OnceLock<ProgressBar>,
    quiet: bool,
    signals: Signals,
    /// When there was something to show first.
    start: OnceLock<Instant>,
    items: AtomicU64,
    bytes: AtomicU64,
    read_bytes: AtomicU64,
    errors: AtomicU64,
    shown: Mutex<Shown>,
}

/// What is shown besides numbers.
#[derive(Default)]
struct Shown {
    phase: String,
    path: Vec<u8>,
    total: Option<(u64, u64)>,
    /// When the bar or a line of JSON was due last.
    due: Duration,
}

/// A line of JSON; others may rely on its names.
#[derive(Serialize)]
struct Status {
    r#type: &'static str,
    seconds: f64,
    files: u64,
    bytes: u64,
    total_files: Option<u64>,
    total_bytes: Option<u64>,
    read_bytes: u64,
    path: String,
    errors: u64,
}

impl Terminal {
    pub(crate) fn new(display: Display, quiet: bool, signals: Signals) -> Self {
        Self {
            display,
            bar: OnceLock::new(),
            quiet,
            signals,
            start: OnceLock::new(),
            items: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            read_bytes: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            shown: Mutex::default(),
        }
    }

    /// Draws the bar from now on. Nobody is asked for anything behind that.
    pub(crate) fn start(&self) {
        self.elapsed();
        self.bar();
    }

    /// How long it has been shown; what was told of that before is never more.
    pub(crate) fn elapsed(&self) -> Duration {
        self.start.get_or_init(Instant::now).elapsed()
    }

    fn bar(&self) -> Option<&ProgressBar> {
        (self.display == Display::Bar).then(|| {
            self.bar.get_or_init(|| {
                let target = ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND);
                let bar = ProgressBar::with_draw_target(None, target);
                bar.set_style(style(OPEN));
                bar.enable_steady_tick(Duration::from_millis(100));
                bar
            })
        })
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = self.bar.get() {
            bar.finish_and_clear();
        }
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draw(&self, bar: &ProgressBar, shown: &Shown) {
        let bytes = self.bytes.load(Ordering::Relaxed);
        let mut items = format::count(self.items.load(Ordering::Relaxed));
        let mut size = format::bytes(bytes);
        if let Some((total_items, total_bytes)) = shown.total {
            // A total of nothing is one that is not known.
            if total_items > 0 {
                items = format!("{items}/{}", format::count(total_items));
            }
            if total_bytes > 0 {
                size = format!("{size}/{}", format::bytes(total_bytes));
            }
            bar.set_length(total_bytes.max(bytes));
            bar.set_position(bytes);
        }
        let errors = match self.errors.load(Ordering::Relaxed) {
            0 => String::new(),
            errors => format!(", {}", format::plural(errors, "error", "errors")),
        };
        bar.set_prefix(format!("{}{items} items, {size}{errors}", shown.phase));
        bar.set_message(printable(&shown.path));
    }

    /// Shows where the work stands if that is due.
    fn tell(&self) {
        let interval = match self.display {
            Display::Bar => DRAW_INTERVAL,
            Display::Json => STATUS_INTERVAL,
            Display::Nothing => return,
        };
        let elapsed = self.elapsed();
        let mut shown = self.shown();
        if elapsed < shown.due + interval {
            return;
        }
        shown.due = elapsed;
        match self.bar() {
            Some(bar) => self.draw(bar, &shown),
            None => self.print_status(elapsed, &shown),
        }
    }

    fn print_status(&self, elapsed: Duration, shown: &Shown) {
        let status = Status {
            r#type: "status",
            seconds: elapsed.as_secs_f64(),
            files: self.items.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            total_files: shown.total.map(|(items, _)| items),
            total_bytes: shown.total.map(|(_, bytes)| bytes),
            read_bytes: self.read_bytes.load(Ordering::Relaxed),
            path: printable(&shown.path),
            errors: self.errors.load(Ordering::Relaxed),
        };
        if let Ok(line) = serde_json::to_string(&status) {
            // Whoever closed it wants no more; the summary will find out.
            let _ = writeln!(io::stdout(), "{line}");
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template);
    style.map_or_else(|_| ProgressStyle::default_bar(), |style| style.progress_chars("=> "))
}

impl Monitor for Terminal {
    fn path(&self, path: &Path) {
        let is_due = || self.items.load(Ordering::Relaxed).is_multiple_of(PATH_INTERVAL);
        if self.display == Display::Nothing || !is_due() {
            return;
        }
        let mut shown = self.shown();
        shown.path.clear();
        shown.path.extend_from_slice(path.as_os_str().as_encoded_bytes());
    }

    fn advance(&self, items: u64, bytes: u64) {
        self.items.fetch_add(items, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.tell();
    }

    fn read(&self, bytes: u64) {
        self.read_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn total(&self, items: u64, bytes: u64) {
        let mut shown = self.shown();
        if let Some(bar) = self.bar() {
            bar.set_style(style(if bytes > 0 { MEASURED } else { OPEN }));
        }
        shown.total = Some((items, bytes));
    }

    fn wants_total(&self) -> bool {
        self.display != Display::Nothing
    }

    fn warn(&self, message: &str) {
        if self.quiet {
            return;
        }
        let print = || {
            let _ = writeln!(io::stderr(), "icecore: {message}");
        };
        match self.bar.get() {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    fn problem(&self, message: &str) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        self.warn(message);
    }

    fn phase(&self, name: &str) {
        let mut shown = self.shown();
        shown.phase = format!("{name}: ");
        shown.path.clear();
        if let Some(bar) = self.bar() {
            self.draw(bar, &shown);
        }
    }

    fn begin(&self, name: &str, items: u64, bytes: u64) {
        self.items.store(0, Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
        if let Some(bar) = self.bar() {
            // Rates and times to come are those of the phase.
            bar.reset_eta();
        }
        self.total(items, bytes);
        self.phase(name);
    }

    fn cancelled(&self) -> bool {
        self.signals.received().is_some()
    }
}
