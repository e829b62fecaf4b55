//! Extended attributes as tools ask for them: how large, then how, and again.

use std::ffi::CString;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::support::fixture::Fixture;
use crate::support::generate::{directory, file, symlink, xattr};
use crate::support::need::{is_root, require_fuse};
use crate::support::rng::Rng;
use crate::support::tree::Shape;
use crate::support::{args, command::run_tool};

/// Every path below a directory, itself included.
fn paths(top: &Path) -> Vec<PathBuf> {
    let mut found = vec![top.to_owned()];
    let mut next = 0;
    while let Some(path) = found.get(next).cloned() {
        next += 1;
        if std::fs::symlink_metadata(&path).expect("it is there").is_dir() {
            let entries = std::fs::read_dir(&path).expect("it can be listed");
            found.extend(entries.map(|entry| entry.expect("an entry").path()));
        }
    }
    found
}

/// The attributes' names of a path, asked for as tools do.
fn names(path: &Path) -> Vec<CString> {
    let size = rustix::fs::llistxattr_query(path).expect("the size of a list");
    let mut list = vec![0; size];
    if size > 0 {
        let exact = rustix::fs::llistxattr(path, list.as_mut_slice());
        assert_eq!(exact, Ok(size), "{}", path.display());
    }
    let mut names: Vec<_> = list
        .split_inclusive(|byte| *byte == 0)
        .map(|name| CString::from_vec_with_nul(name.to_vec()).expect("it ends with NUL"))
        .collect();
    names.sort();
    names
}

/// Fails unless a call answers the probe for its size and each buffer as it
/// should; `call` is given a length of buffer and returns what was filled.
fn probe(value: &[u8], what: &str, query: Result<usize, Errno>, call: Call<'_>) {
    assert_eq!(query, Ok(value.len()), "the size of {what}");
    for more in [0, 1, 4_096, 65_536 - value.len()] {
        let mut buffer = vec![0xaa; value.len() + more];
        // A buffer of no bytes is a question for the size.
        assert_eq!(call(&mut buffer), Ok(value.len()), "{what} with {more} bytes more");
        assert_eq!(&buffer[..value.len()], value, "{what} with {more} bytes more");
        assert!(buffer[value.len()..].iter().all(|byte| *byte == 0xaa), "{what}: written beyond");
    }
    for less in [1, value.len() / 2, value.len().saturating_sub(1)] {
        if less > 0 && less < value.len() {
            let mut buffer = vec![0; value.len() - less];
            assert_eq!(call(&mut buffer), Err(Errno::RANGE), "{what} with {less} bytes less");
        }
    }
}

type Call<'a> = &'a dyn Fn(&mut [u8]) -> Result<usize, Errno>;

#[test]
fn every_attribute_answers_probes_of_its_size_exact_small_and_large_buffers() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::generated(Shape::SMALL);
    let mount = fixture.mount();
    let shown = fixture.in_mount(&mount);
    let mut probed = 0;
    for inner in ["attributes", "acls", "symlinks"] {
        for source in paths(&fixture.source.join(inner)) {
            let below = source.strip_prefix(&fixture.source).expect("it is below");
            let path = shown.join(below);
            assert_eq!(names(&path), names(&source), "{}", path.display());
            let mut list = vec![0; 65_536];
            let size = rustix::fs::llistxattr(&path, list.as_mut_slice()).expect("a list");
            let what = format!("the list of {}", path.display());
            probe(&list[..size], &what, rustix::fs::llistxattr_query(&path), &|buffer| {
                rustix::fs::llistxattr(&path, buffer)
            });
            for name in names(&source) {
                let mut value = vec![0; 65_536];
                let size = rustix::fs::lgetxattr(&source, &name, value.as_mut_slice());
                let value = &value[..size.expect("the source has it")];
                let what = format!("{name:?} of {}", path.display());
                probe(value, &what, rustix::fs::lgetxattr_query(&path, &name), &|buffer| {
                    rustix::fs::lgetxattr(&path, &name, buffer)
                });
                probed += 1;
            }
        }
    }
    assert!(probed > 30, "only {probed} attributes were probed");
    mount.unmount();
}

#[test]
fn a_missing_attribute_switches_no_other_one_off() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::built(|source| {
        directory(source);
        file(&source.join("with"), b"x");
        xattr(&source.join("with"), "user.there", b"value");
        file(&source.join("without"), b"x");
        symlink(&source.join("symlink"), b"with");
    });
    let mount = fixture.mount();
    let top = fixture.in_mount(&mount);
    let mut buffer = [0; 64];
    for path in [mount.point(), &mount.snapshot(&fixture.id), &top, &top.join("without")] {
        for name in ["user.there", "security.x", "system.missing", "trusted.x"] {
            let expected = match name {
                // The kernel hides these from users.
                "trusted.x" if !is_root() => [Errno::NODATA, Errno::OPNOTSUPP],
                _ => [Errno::NODATA; 2],
            };
            let answer = rustix::fs::lgetxattr(path, name, &mut buffer);
            let right = answer.is_err_and(|error| expected.contains(&error));
            assert!(right, "{name} of {}: {answer:?}", path.display());
        }
        assert_eq!(rustix::fs::llistxattr_query(path), Ok(0), "{}", path.display());
    }
    assert_eq!(rustix::fs::getxattr(top.join("with"), "user.there", &mut buffer), Ok(5));
    assert_eq!(rustix::fs::getxattr(top.join("symlink"), "user.there", &mut buffer), Ok(5));
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(top.join("with"), flags, Mode::empty()).expect("it opens");
    assert_eq!(rustix::fs::fgetxattr(&opened, "user.there", &mut buffer), Ok(5));
    assert_eq!(rustix::fs::flistxattr(&opened, &mut buffer), Ok("user.there\0".len()));
    drop(opened);
    mount.unmount();
}

#[test]
fn informational_attributes_answer_briefly_and_stay_out_of_lists_and_copies() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::built(|source| {
        let mut rng = Rng::new(1);
        file(&directory(source).join("small"), b"a few bytes");
        file(&source.join("large"), &rng.bytes(3_000_000));
        file(&source.join("empty"), b"");
    });
    let mount = fixture.mount();
    let top = fixture.in_mount(&mount);
    let ask = |path: &Path, name: &str| {
        let mut buffer = [0; 256];
        let size = rustix::fs::getxattr(path, name, &mut buffer)?;
        Ok(String::from_utf8(buffer[..size].to_vec()).expect("it is a text"))
    };
    for name in ["small", "large", "empty"] {
        let path = top.join(name);
        let digest = run_tool("sha256sum", args![fixture.source.join(name)]).text();
        assert_eq!(ask(&path, "user.icecore.sha256"), Ok(digest[..64].to_owned()), "{name}");
        assert_eq!(ask(&path, "user.icecore.snapshot"), Ok(fixture.id.clone()), "{name}");
        assert_eq!(ask(&path, "user.icecore.tree"), Err(Errno::NODATA), "{name}");
        assert!(names(&path).is_empty(), "{name}");
    }
    for path in [&top, &mount.snapshot(&fixture.id)] {
        assert_eq!(ask(path, "user.icecore.tree").map(|id| id.len()), Ok(64));
        assert_eq!(ask(path, "user.icecore.sha256"), Err(Errno::NODATA));
        assert!(names(path).is_empty());
    }
    let copy = fixture.scratch.join("copy");
    run_tool("cp", args!["-a", &top, &copy]);
    assert!(paths(&copy).iter().all(|path| names(path).is_empty()));
    mount.unmount();
}
