//! Runs commands on what may be hostile, and holds them to their bounds.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::command::{code_of, icecore, run};
use crate::support::repo::{Repo, signal};

/// Most bytes of memory that any command may take, its caches included.
pub(super) const MEMORY_MAX_KIB: u64 = 320 << 10;
/// Address space beyond which a command fails for sure, to spare the machine.
const ADDRESS_SPACE: &str = "--as=8589934592";
/// How long a command that has to end by itself may take.
const ENDS_WITHIN: Duration = Duration::from_secs(240);
/// How long one that may go on for ever is left to do so.
const STREAMS_FOR: Duration = Duration::from_secs(2);
/// How long after an interrupt it may take to end.
const ENDS_AFTER_INTERRUPT: Duration = Duration::from_secs(30);
/// Bytes of output that are kept.
const KEPT_BYTES: usize = 256 << 10;
/// Codes that help states and that no content may cause: a wrong command line, and
/// a wrong password.
const NEVER: [i32; 2] = [2, 12];

/// Whether a command has to end by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    /// Within a bounded time, whatever it is given.
    ByItself,
    /// It may have as much to say as it is told to: then it must end on Ctrl-C.
    Interrupted,
}

/// What a command printed.
#[derive(Debug, Default)]
pub(super) struct Printed {
    pub(super) kept: Vec<u8>,
    /// The first byte that could steer a terminal, with what is around it.
    steers: Option<String>,
}

/// What came of a command.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) code: i32,
    pub(super) stdout: Printed,
    pub(super) stderr: Printed,
    pub(super) memory_kib: u64,
    pub(super) time: Duration,
}

impl Measured {
    pub(super) fn error(&self) -> String {
        String::from_utf8_lossy(&self.stderr.kept).into_owned()
    }
}

/// Runs a command and fails if it takes more than its bounds, ends by a code
/// that its help does not state, panics, or prints what steers a terminal. Content that
/// was asked for (`is_content`) may hold anything.
pub(super) fn bounded(
    repo: &Repo,
    words: &[OsString],
    ends: Ends,
    is_content: bool,
    directory: &Path,
) -> Measured {
    bounded_with(repo, words, ends, is_content, &NEVER, directory)
}

/// The same for a command that may be given the wrong password.
pub(super) fn bounded_tried(repo: &Repo, words: &[OsString], directory: &Path) -> Measured {
    bounded_with(repo, words, Ends::ByItself, false, &NEVER[..1], directory)
}

fn bounded_with(
    repo: &Repo,
    words: &[OsString],
    ends: Ends,
    is_content: bool,
    never: &[i32],
    directory: &Path,
) -> Measured {
    let what = format!("icecore {words:?}");
    let plain = repo.command(words);
    let mut command = Command::new("prlimit");
    command.arg(ADDRESS_SPACE).arg(plain.get_program()).args(plain.get_args());
    command.current_dir(directory);
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("prlimit starts");
    let stdout = collect(child.stdout.take().expect("it is piped"));
    let stderr = collect(child.stderr.take().expect("it is piped"));
    let (code, memory_kib, time) = watch(&mut child, ends, &what);
    let stdout = stdout.join().expect("it is read");
    let stderr = stderr.join().expect("it is read");
    let measured = Measured { code, stdout, stderr, memory_kib, time };
    let is_interrupted = ends == Ends::Interrupted && code == 130;
    let is_stated =
        is_interrupted || (stated_codes(words).contains(&code) && !never.contains(&code));
    assert!(is_stated, "{what} ended with {code}: {}", measured.error());
    judge(&measured, is_content, &what);
    // One that tells of damage as it goes may do so for as long as it goes: until Ctrl-C,
    // or until the small disk is full.
    let fills_the_disk = ends == Ends::Interrupted && code == 1 && words[0] == "restore";
    let is_brief = is_interrupted || fills_the_disk || measured.stderr.kept.len() < KEPT_BYTES;
    assert!(is_brief, "{what} complains without end");
    if code == 0 && words.iter().any(|word| word == "--json") {
        is_json(&measured.stdout.kept, &what);
    }
    measured
}

/// The exit codes that the help of a command states.
fn stated_codes(words: &[OsString]) -> Vec<i32> {
    static KNOWN: Mutex<BTreeMap<Vec<OsString>, Vec<i32>>> = Mutex::new(BTreeMap::new());
    let is_name = |word: &&OsString| word.as_bytes().iter().all(u8::is_ascii_lowercase);
    let command: Vec<_> = words.iter().take_while(is_name).cloned().collect();
    let mut known = KNOWN.lock().expect("nobody panics with it");
    let codes = known.entry(command.clone()).or_insert_with(|| {
        let help = run(Command::new(icecore()).args(command).arg("--help")).expect(0).text();
        let (_, codes) = help.split_once("Exit status:").expect("every help states it");
        codes.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect()
    });
    codes.clone()
}

/// Fails unless these are JSON documents, as far as they were kept.
fn is_json(bytes: &[u8], what: &str) {
    let documents = serde_json::Deserializer::from_slice(bytes).into_iter::<serde_json::Value>();
    if let Some(error) = documents.filter_map(Result::err).next() {
        let is_cut = error.is_eof() && bytes.len() == KEPT_BYTES;
        assert!(is_cut, "{what} printed no JSON: {error}");
    }
}

fn judge(measured: &Measured, is_content: bool, what: &str) {
    let error = measured.error();
    assert!(!error.contains("panicked"), "{what} panicked: {error}");
    let says_why = !error.is_empty() || !measured.stdout.kept.is_empty();
    assert!(measured.code == 0 || says_why, "{what} says not why: {}", measured.code);
    assert!(
        measured.memory_kib <= MEMORY_MAX_KIB,
        "{what} took {} KiB of memory",
        measured.memory_kib
    );
    assert_eq!(measured.stderr.steers, None, "{what} steers the terminal by its messages");
    if !is_content {
        assert_eq!(measured.stdout.steers, None, "{what} steers the terminal");
    }
}

/// Waits for the end, with an eye on the memory.
fn watch(child: &mut Child, ends: Ends, what: &str) -> (i32, u64, Duration) {
    let begun = Instant::now();
    let mut memory_kib = 0;
    let mut interrupted = None;
    loop {
        memory_kib = memory_kib.max(peak_kib(child.id()));
        if let Some(status) = child.try_wait().expect("it can be waited for") {
            return (code_of(status), memory_kib, begun.elapsed());
        }
        let late = match (ends, interrupted) {
            (Ends::ByItself, _) => begun.elapsed() > ENDS_WITHIN,
            (Ends::Interrupted, None) => {
                if begun.elapsed() > STREAMS_FOR {
                    signal(child, Signal::INT);
                    interrupted = Some(Instant::now());
                }
                false
            }
            (Ends::Interrupted, Some(at)) => at.elapsed() > ENDS_AFTER_INTERRUPT,
        };
        if late {
            let _gone = child.kill();
            let _reaped = child.wait();
            panic!("{what} did not end in time; it had taken {memory_kib} KiB");
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// The most memory that an `icecore` ever had, in KiB; 0 once it is gone, and
/// before it is one: what was forked has the memory of this process for a moment.
pub(super) fn peak_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    if !status.starts_with("Name:\ticecore\n") {
        return 0;
    }
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

fn collect(mut source: impl Read + Send + 'static) -> JoinHandle<Printed> {
    thread::spawn(move || {
        let mut printed = Printed::default();
        let mut buffer = vec![0; 64 << 10];
        while let Ok(length) = source.read(&mut buffer) {
            if length == 0 {
                break;
            }
            let part = &buffer[..length];
            if printed.steers.is_none() {
                printed.steers = steers(part);
            }
            let room = KEPT_BYTES.saturating_sub(printed.kept.len()).min(length);
            printed.kept.extend_from_slice(&part[..room]);
        }
        printed
    })
}

/// Finds what a terminal would take for more than text: control characters of
/// both kinds, and marks that turn the direction of what is around them.
pub(super) fn steers(bytes: &[u8]) -> Option<String> {
    let c1 = |at: usize| bytes[at] == 0xc2 && bytes.get(at + 1).is_some_and(|b| *b < 0xa0);
    let turns = |at: usize| {
        let rest = &bytes[at..];
        rest.starts_with("\u{202e}".as_bytes()) || rest.starts_with("\u{2066}".as_bytes())
    };
    let is_bad = |at: &usize| {
        (bytes[*at] < 0x20 && bytes[*at] != b'\n') || bytes[*at] == 0x7f || c1(*at) || turns(*at)
    };
    let at = (0..bytes.len()).find(is_bad)?;
    let around = &bytes[at.saturating_sub(30)..(at + 30).min(bytes.len())];
    Some(format!("{:?}", String::from_utf8_lossy(around)))
}
