//! Sending small files to the kernel before they are asked for.
//!
//! Tools that copy or search read the files of a directory one after the other,
//! in the order of the listing (`tar`, `grep -r`), by name (`rsync`, `diff -r`)
//! or by inode number (`cp`). When reads follow one of these, the next few files
//! are put into the kernel's page cache, and the reader finds them there without
//! a request.
//!
//! Invariants:
//! - What is sent and never read is bounded: a window of files per directory,
//!   which grows only while reads go on where it ended. The first read in a
//!   directory is followed only while what was sent in others is being read.
//! - The kernel may hold a page for a read that waits to be served. So of the
//!   threads that serve only one at a time sends files.
//! - A file that cannot be read is passed over; whoever reads it hears why.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::dag::{Entry, Kind};
use crate::view::EntryHandle;

/// Files that are sent at once at most.
const WINDOW_FILES_MAX: usize = 32;
/// Bytes that are sent at once at most, beside the first file.
const WINDOW_BYTES: u64 = 256 << 10;
/// Bytes of a file that is worth it: of larger ones the kernel reads ahead.
const FILE_BYTES_MAX: u64 = 128 << 10;
/// Files at the end of a page that are sent without asking whether it was of use.
const FEW: usize = 4;
/// Reads of what was sent, of late, after which the first read in a directory is
/// followed; how many are counted; and how many files are sent then.
const TRUSTED: u32 = 2;
const TRUST_MAX: u32 = 8;
const FIRST_WINDOW: usize = 8;
/// Entries that a reader may skip (directories, links, files it has).
const GAP: usize = 16;
/// Directories that are being read at once and remembered.
const RUNS_MAX: usize = 16;

/// What is to be done for a file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// Find out the order of the page's files by inode number.
    Sort,
    /// Send these files of the page, by their index in it.
    Send(Vec<usize>),
}

/// The places of a page's entries in the order by inode number, both ways.
#[derive(Debug)]
pub(crate) struct NumberOrder {
    by_place: Vec<usize>,
    place_of: Vec<usize>,
}

impl NumberOrder {
    /// Sorts entries of which these are the numbers.
    pub(crate) fn new(numbers: &[u64]) -> Self {
        let mut by_place: Vec<usize> = (0..numbers.len()).collect();
        by_place.sort_by_key(|index| numbers.get(*index));
        let mut place_of = vec![0; numbers.len()];
        for (place, index) in by_place.iter().enumerate() {
            if let Some(slot) = place_of.get_mut(*index) {
                *slot = place;
            }
        }
        Self { by_place, place_of }
    }
}

/// The reading of one page's files.
#[derive(Debug)]
struct Run {
    /// Names the page while it is in memory. Another page in its place is
    /// guessed at wrongly for a moment, which costs little.
    page: usize,
    order: Option<Arc<NumberOrder>>,
    /// Whether the order has been asked for.
    sorting: bool,
    /// The place up to which files were read or sent.
    next: usize,
    window: usize,
    /// Whether files were sent and it is not known yet that they were read.
    open: bool,
}

impl Run {
    fn new(page: usize, index: usize) -> Self {
        Self { page, order: None, sorting: false, next: index + 1, window: 1, open: false }
    }

    /// Notes a read, and returns whether it goes on where the last one, or what
    /// was sent, ended.
    fn goes_on(&mut self, index: usize) -> bool {
        let place = match &self.order {
            Some(order) => order.place_of.get(index).copied().unwrap_or(usize::MAX - GAP),
            None => index,
        };
        if place >= self.next && place <= self.next + GAP {
            self.window = (self.window * 2).min(WINDOW_FILES_MAX);
            self.next = place + 1;
            self.open = false;
            return true;
        }
        // Just behind what was sent, the reader has overtaken the sender.
        if place >= self.next || place + 2 * WINDOW_FILES_MAX < self.next {
            self.next = place + 1;
            self.window = 1;
        }
        false
    }

    fn index(&self, place: usize) -> Option<usize> {
        self.order.as_ref().map_or(Some(place), |order| order.by_place.get(place).copied())
    }

    /// Chooses the files to send. `bytes` is that of [`Planner::plan`].
    fn choose(&mut self, bytes: Bytes<'_>) -> Option<Task> {
        let (mut chosen, mut sum, mut place, mut at_end) = (Vec::new(), 0, self.next, false);
        while chosen.len() <= self.window && place < self.next + self.window + GAP {
            match self.index(place).map_or(Err(End), bytes) {
                Ok(Some(bytes)) => {
                    sum += bytes;
                    chosen.push((place, self.index(place)?));
                }
                Ok(None) => {}
                Err(End) => {
                    at_end = true;
                    break;
                }
            }
            place += 1;
            if sum >= WINDOW_BYTES {
                break;
            }
        }
        if !at_end || chosen.len() > FEW {
            // The read of this one will tell whether the others were of use.
            chosen.pop();
            self.open = !chosen.is_empty();
        }
        let (last, _) = chosen.last()?;
        self.next = last + 1;
        Some(Task::Send(chosen.into_iter().map(|(_, index)| index).collect()))
    }
}

/// Behind the last entry of a page.
#[derive(Clone, Copy, Debug)]
struct End;

/// The size of a file of a page that could be sent; nothing for other entries.
type Bytes<'a> = &'a dyn Fn(usize) -> Result<Option<u64>, End>;

/// Which files are to be sent.
#[derive(Debug, Default)]
struct Planner {
    /// The latest last.
    runs: Vec<Run>,
    /// How often what was sent was read, of late.
    trust: u32,
}

impl Planner {
    fn run(&mut self, page: usize) -> Option<&mut Run> {
        let at = self.runs.iter().position(|run| run.page == page)?;
        let run = self.runs.remove(at);
        self.runs.push(run);
        self.runs.last_mut()
    }

    /// Notes that the entry at `index` of a page was read.
    fn plan(&mut self, page: usize, index: usize, bytes: Bytes<'_>) -> Option<Task> {
        let trust = self.trust;
        let Some(run) = self.run(page) else {
            self.make_room();
            let mut run = Run::new(page, index);
            let task = if trust >= TRUSTED {
                run.window = FIRST_WINDOW;
                run.choose(bytes)
            } else {
                None
            };
            self.runs.push(run);
            return task;
        };
        let was_open = run.open;
        if !run.goes_on(index) {
            let sort = run.order.is_none() && !run.sorting;
            run.sorting = run.sorting || sort;
            return sort.then_some(Task::Sort);
        }
        let task = run.choose(bytes);
        if was_open {
            self.trust = (self.trust + 1).min(TRUST_MAX);
        }
        task
    }

    fn make_room(&mut self) {
        if self.runs.len() < RUNS_MAX {
            return;
        }
        if self.runs.remove(0).open {
            self.trust = self.trust.saturating_sub(2);
        }
    }

    fn sorted(&mut self, page: usize, order: NumberOrder) {
        if let Some(run) = self.run(page) {
            // Where the reader is by now is not known: begin with its next read.
            let last = run.next.saturating_sub(1);
            run.next = order.place_of.get(last).map_or(0, |place| place + 1);
            run.order = Some(Arc::new(order));
            run.window = 1;
            run.open = false;
        }
    }
}

/// Notes reads, and says what to send.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    planner: Mutex<Planner>,
    sending: Mutex<()>,
}

impl Ahead {
    /// Notes that a file is being read from its beginning, and returns what is
    /// to be done before the answer: a reader that has it asks for the next file
    /// sooner than any other thread could have sent that.
    pub(crate) fn note(&self, file: &EntryHandle) -> Option<Task> {
        let bytes = |index: usize| {
            let neighbour = file.neighbour(index).ok_or(End)?;
            Ok(neighbour.get().and_then(sendable_bytes))
        };
        self.lock().plan(file.page_address(), file.index(), &bytes)
    }

    /// Notes the order by inode number of a file's page.
    pub(crate) fn sorted(&self, file: &EntryHandle, order: NumberOrder) {
        self.lock().sorted(file.page_address(), order);
    }

    /// Lets `send` send files, unless another thread is at it: the kernel may
    /// hold a file's page for a read that waits to be served, so some thread must
    /// always be free to serve.
    pub(crate) fn send(&self, send: impl FnOnce()) {
        if let Ok(_one) = self.sending.try_lock() {
            send();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Planner> {
        self.planner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The size of an entry's content, if it is one to send.
fn sendable_bytes(entry: &Entry) -> Option<u64> {
    match &entry.node.kind {
        Kind::File(content) => (1..=FILE_BYTES_MAX).contains(&content.size).then_some(content.size),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page of `count` files of a kilobyte; every tenth entry is no file.
    fn page(count: usize) -> impl Fn(usize) -> Result<Option<u64>, End> {
        move |index| if index >= count { Err(End) } else { Ok((index % 10 != 9).then_some(1024)) }
    }

    /// Reads files in an order, where those that were sent need no request, and
    /// returns how many requests there were and what was sent and not read.
    fn read_all(order: &[usize], count: usize, sort: Option<&[u64]>) -> (usize, usize) {
        let (mut planner, bytes) = (Planner::default(), page(count));
        let (mut sent, mut requests) = (Vec::new(), 0);
        for index in order {
            if let Some(at) = sent.iter().position(|known| known == index) {
                sent.remove(at);
                continue;
            }
            requests += 1;
            match planner.plan(7, *index, &bytes) {
                None => {}
                Some(Task::Send(indexes)) => sent.extend(indexes),
                Some(Task::Sort) => {
                    if let Some(numbers) = sort {
                        planner.sorted(7, NumberOrder::new(numbers));
                    }
                }
            }
        }
        (requests, sent.len())
    }

    #[test]
    fn files_read_in_order_need_few_requests_and_little_is_sent_in_vain() {
        let files: Vec<usize> = (0..1000).filter(|index| index % 10 != 9).collect();
        let (requests, vain) = read_all(&files, 1000, None);
        assert!(requests < 50, "{requests}");
        assert_eq!(vain, 0);
    }

    #[test]
    fn files_read_by_inode_number_are_recognized() {
        let numbers: Vec<u64> = (0..1000_u64).map(|index| index * 7919 % 1009).collect();
        let mut files: Vec<usize> = (0..1000).filter(|index| index % 10 != 9).collect();
        files.sort_by_key(|index| numbers[*index]);
        let (requests, vain) = read_all(&files, 1000, Some(&numbers));
        assert!(requests < 60, "{requests}");
        assert_eq!(vain, 0);
    }

    #[test]
    fn files_read_here_and_there_are_not_followed() {
        let files: Vec<usize> = (0..1000).map(|index| index * 389 % 1000).collect();
        let (requests, vain) = read_all(&files, 1000, None);
        assert_eq!((requests, vain), (1000, 0));
    }

    #[test]
    fn one_file_alone_brings_nothing_after_it() {
        assert_eq!(read_all(&[500], 1000, None), (1, 0));
    }

    #[test]
    fn two_directories_read_in_turns_are_both_followed() {
        let (mut planner, bytes) = (Planner::default(), page(100));
        let mut plans = 0;
        for index in [0, 1, 4] {
            for directory in [1, 2] {
                plans += usize::from(matches!(
                    planner.plan(directory, index, &bytes),
                    Some(Task::Send(_))
                ));
            }
        }
        assert_eq!(plans, 4);
    }

    /// Reads the first `files` of ten files in each of many directories, and
    /// returns how many requests that took, and how many files were sent in vain.
    fn read_directories(planner: &mut Planner, from: usize, files: usize) -> (usize, usize) {
        let (mut requests, mut vain, bytes) = (0, 0, page(9));
        for directory in from..from + 100 {
            let mut sent = Vec::new();
            for index in 0..files {
                if let Some(at) = sent.iter().position(|known| *known == index) {
                    sent.remove(at);
                    continue;
                }
                requests += 1;
                if let Some(Task::Send(indexes)) = planner.plan(directory, index, &bytes) {
                    sent.extend(indexes);
                }
            }
            vain += sent.len();
        }
        (requests, vain)
    }

    #[test]
    fn directories_read_whole_need_two_requests_each_and_nothing_more_when_that_ends() {
        let mut planner = Planner::default();
        let (requests, vain) = read_directories(&mut planner, 0, 9);
        assert!(requests < 220, "{requests}");
        assert_eq!(vain, 0);
        // Now only the first file of each is read.
        let (requests, vain) = read_directories(&mut planner, 1000, 1);
        assert_eq!(requests, 100);
        assert!(vain < 200, "{vain}");
        assert_eq!(read_directories(&mut planner, 2000, 1), (100, 0));
    }

    #[test]
    fn only_so_many_directories_are_remembered() {
        let (mut planner, bytes) = (Planner::default(), page(100));
        (0..1000).for_each(|directory| {
            planner.plan(directory, 0, &bytes);
        });
        assert_eq!(planner.runs.len(), RUNS_MAX);
    }
}
