//! Content read in every way that programs have: at once, mapped, direct,
//! interrupted, executed.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::fs::OFlags;

use super::python;
use crate::support::args;
use crate::support::command::{run_tool, try_tool};
use crate::support::compare::{Rules, assert_same};
use crate::support::fixture::Fixture;
use crate::support::generate::{directory, file, link, sparse};
use crate::support::need::require_fuse;
use crate::support::rng::Rng;

const LARGE: usize = 24 << 20;

fn of_one_large_file(content: &[u8]) -> Fixture {
    Fixture::built(|source| file(&directory(source).join("large"), content))
}

#[test]
fn many_threads_read_one_cold_file_at_random_places_and_get_its_bytes() {
    if !require_fuse() {
        return;
    }
    let content = Rng::new(21).bytes(LARGE);
    let fixture = of_one_large_file(&content);
    let mount = fixture.mount();
    let path = fixture.in_mount(&mount).join("large");
    let shared = File::open(&path).expect("it opens");
    thread::scope(|scope| {
        for seed in 0..8 {
            let (content, path, shared) = (&content, &path, &shared);
            scope.spawn(move || {
                let mut rng = Rng::new(seed);
                let own = File::open(path).expect("it opens");
                for round in 0..200 {
                    let offset = rng.below(LARGE as u64) as usize;
                    let mut bytes = vec![0; 1 + rng.below(300_000) as usize];
                    let file = if round % 2 == 0 { &own } else { shared };
                    let read = file.read_at(&mut bytes, offset as u64).expect("it can be read");
                    assert!(read > 0, "nothing at {offset}");
                    assert!(bytes[..read] == content[offset..offset + read], "at {offset}");
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| assert!(std::fs::read(&path).expect("it can be read") == content));
        }
    });
    drop(shared);
    mount.unmount();
}

#[test]
fn direct_reads_of_small_and_large_files_begin_and_end_where_they_are_asked_to() {
    if !require_fuse() {
        return;
    }
    let mut rng = Rng::new(22);
    let sizes = [1, 2, 11, 255, 256, 257, 4_095, 4_097, 70_000, 300_001];
    let contents = sizes.map(|size| rng.bytes(size));
    let fixture = Fixture::built(|source| {
        directory(source);
        for content in &contents {
            file(&source.join(content.len().to_string()), content);
        }
    });
    let mount = fixture.mount();
    for content in &contents {
        let path = fixture.in_mount(&mount).join(content.len().to_string());
        let mut options = File::options();
        // Past the page cache: the mount is asked for just these bytes.
        options.read(true).custom_flags(OFlags::DIRECT.bits() as i32);
        let opened = options.open(&path).expect("it opens without the cache");
        for _ in 0..300 {
            let offset = rng.below(content.len() as u64 + 3) as usize;
            let mut bytes = vec![0xee; 1 + rng.below(content.len() as u64 + 10) as usize];
            let read = opened.read_at(&mut bytes, offset as u64).expect("it can be read");
            let from = offset.min(content.len());
            let expected = &content[from..content.len().min(from + bytes.len())];
            assert!(bytes[..read] == *expected, "{read} bytes at {offset} of {}", content.len());
        }
    }
    mount.unmount();
}

const MAPPED: &str = "
import mmap, random, sys
for index in range(0, len(sys.argv) - 1, 2):
    source, shown = sys.argv[1 + index:3 + index]
    with open(source, 'rb') as left, open(shown, 'rb') as right:
        left = mmap.mmap(left.fileno(), 0, prot=mmap.PROT_READ)
        right = mmap.mmap(right.fileno(), 0, prot=mmap.PROT_READ)
        assert len(left) == len(right)
        for _ in range(400):
            at = random.randrange(len(left))
            end = at + random.randrange(1 << 16)
            assert left[at:end] == right[at:end], (shown, at, end)
        assert left[:1 << 25] == right[:1 << 25] and left[-9:] == right[-9:], shown
print('mapped')
";

#[test]
fn mapped_files_read_as_the_source_does_at_random_and_in_order() {
    if !require_fuse() || !python("mapping a file") {
        return;
    }
    let fixture = Fixture::built(|source| {
        let mut rng = Rng::new(23);
        file(&directory(source).join("large"), &rng.bytes(9_000_001));
        file(&source.join("small"), b"of less than a page");
        file(&source.join("page"), &rng.bytes(4_096));
        let data = rng.bytes(500_000);
        sparse(&source.join("sparse"), 40 << 20, &[(7 << 20, &data), (33 << 20, &data)]);
        sparse(&source.join("5G"), 5 << 30, &[((5 << 30) - 9, b"at 32 bit")]);
    });
    let mount = fixture.mount();
    let mut arguments = args!["-c", MAPPED].to_vec();
    for name in ["large", "small", "page", "sparse", "5G"] {
        arguments.push(fixture.source.join(name).into());
        arguments.push(fixture.in_mount(&mount).join(name).into());
    }
    assert_eq!(run_tool("python3", arguments).text(), "mapped\n");
    mount.unmount();
}

const INTERRUPTED: &str = "
import os, signal, sys
ticks = 0
def tick(*_):
    global ticks
    ticks += 1
signal.signal(signal.SIGALRM, tick)
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
while ticks < 60:
    for directory, _, names in os.walk(sys.argv[1]):
        for name in names:
            path = os.path.join(directory, name)
            other = os.path.join(sys.argv[2], os.path.relpath(path, sys.argv[1]))
            with open(path, 'rb') as left, open(other, 'rb') as right:
                assert left.read() == right.read(), other
                # The next round asks the mount again.
                os.posix_fadvise(right.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
signal.setitimer(signal.ITIMER_REAL, 0)
print('done')
";

#[test]
fn a_reader_under_a_storm_of_signals_sees_no_error_and_every_byte() {
    if !require_fuse() || !python("a storm of signals") {
        return;
    }
    let fixture = Fixture::plain();
    file(&fixture.source.join("large"), &Rng::new(24).bytes(LARGE));
    let id = fixture.repo.create(&fixture.source);
    let mount = fixture.mount();
    let shown = mount.source(&id, &fixture.source);
    let script = args!["-c", INTERRUPTED, &fixture.source, &shown];
    assert_eq!(run_tool("python3", script).text(), "done\n");
    mount.unmount();
}

#[test]
fn readers_killed_in_the_middle_harm_neither_the_mount_nor_others() {
    if !require_fuse() {
        return;
    }
    let content = Rng::new(25).bytes(LARGE);
    let fixture = of_one_large_file(&content);
    let mut rng = Rng::printed("moments");
    let mount = fixture.mount();
    let top = fixture.in_mount(&mount);
    for _ in 0..40 {
        let mut command = Command::new("cat");
        let command = command.arg(top.join("large")).stdout(Stdio::null());
        let mut child = command.spawn().expect("cat starts");
        thread::sleep(Duration::from_micros(rng.below(20_000)));
        let _ended_by_itself = child.kill();
        child.wait().expect("a killed reader ends");
    }
    assert_same(&fixture.source, &top, Rules::ALL);
    mount.unmount();
}

#[test]
fn programs_run_from_the_mount() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::built(|source| {
        directory(source);
        run_tool("cp", args!["-L", "/bin/sh", source.join("program")]);
    });
    let mount = fixture.mount();
    let program = fixture.in_mount(&mount).join("program");
    let program = program.to_str().expect("a text");
    assert_eq!(try_tool(program, ["-c", "echo it runs"]).expect(0).text(), "it runs\n");
    mount.unmount();
}

#[test]
fn the_names_of_a_link_group_are_one_file_and_no_other_file_is() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::built(|source| {
        for name in ["a", "b/c"] {
            directory(&source.join(name));
        }
        for group in 0..20 {
            let first = source.join(format!("first-{group}"));
            // Equal content, metadata and all: only the links tell them apart.
            file(&first, b"the same in each group");
            link(&first, &source.join(format!("a/second-{group}")));
            link(&first, &source.join(format!("b/c/third-{group}")));
        }
    });
    let mount = fixture.mount();
    let number = |top: &Path, name: String| {
        let metadata = std::fs::metadata(top.join(name)).expect("it is there");
        assert_eq!(metadata.nlink(), 3);
        metadata.ino()
    };
    let groups = |top: &Path| {
        let mut numbers: Vec<_> = (0..20)
            .map(|group| {
                let of_group = [
                    format!("first-{group}"),
                    format!("a/second-{group}"),
                    format!("b/c/third-{group}"),
                ]
                .map(|name| number(top, name));
                assert_eq!(of_group, [of_group[0]; 3], "group {group}");
                of_group[0]
            })
            .collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 20, "two groups share an inode number");
        numbers
    };
    let first = groups(&fixture.in_mount(&mount));
    let again = fixture.repo.create(&fixture.source);
    assert_eq!(groups(&mount.source(&again, &fixture.source)), first, "unchanged: same numbers");
    mount.unmount();
}

#[test]
fn who_reads_a_directory_in_order_is_not_held_up_by_links_of_what_he_reads() {
    if !require_fuse() {
        return;
    }
    // The next few files are sent to the kernel, which holds the one that is read.
    let fixture = Fixture::built(|source| {
        let source = directory(source);
        for number in 0..40_u8 {
            let name = |part| source.join(format!("{:02}-{part}", number / 4 * 4 + part));
            match number % 4 {
                part @ (0 | 1) => file(&name(part), &[number; 3000]),
                part => link(&name(part - 2), &name(part)),
            }
        }
    });
    let mount = fixture.mount();
    let top = fixture.in_mount(&mount);
    for order in ["", "-r"] {
        let script = format!(
            "ls {order} \"$1\" | sed \"s|^|$1/|\" | timeout -s KILL 60 xargs -n1 cat | wc -c"
        );
        let read = run_tool("bash", args!["-o", "pipefail", "-c", script, "bash", &top]);
        assert_eq!(read.text().trim(), "120000", "in the order of ls {order}");
    }
    mount.unmount();
}
