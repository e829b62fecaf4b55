//! One byte of the store is not what it was.

use crate::support::args;
use crate::support::command::run_tool;
use crate::support::encrypt::is_encrypted;
use crate::support::fixture::Fixture;
use crate::support::generate::{directory, file};
use crate::support::mount::Mount;
use crate::support::need::require_fuse;
use crate::support::rng::Rng;
use crate::support::rot::{rot_chunk, rot_tree};

pub(crate) const VICTIM: &str = "victim-of-damage";

/// A fixture in which one byte of the victim's only chunk was changed in the
/// database; the id of that chunk.
pub(crate) fn damaged() -> (Fixture, String) {
    let mut rng = Rng::new(77);
    let content = rng.bytes(12_000);
    let fixture = Fixture::built(|source| {
        file(&directory(source).join("a-healthy-file"), &rng.bytes(2_000_000));
        file(&source.join(VICTIM), &content);
        file(&source.join("z-healthy-file"), &rng.bytes(2_000_000));
    });
    let chunk = rot_chunk(&fixture.repo, content.len());
    let digest = run_tool("sha256sum", args![fixture.source.join(VICTIM)]).text();
    assert_eq!(digest[..64] == chunk, !is_encrypted(fixture.repo.path()), "{digest}");
    (fixture, chunk)
}

#[test]
fn a_damaged_byte_gives_eio_in_the_mount_and_a_line_with_path_and_chunk() {
    if !require_fuse() {
        return;
    }
    let (fixture, chunk) = damaged();
    let mount = Mount::foreground(&fixture.repo);
    let shown = fixture.in_mount(&mount);
    let read = std::fs::read(shown.join(VICTIM));
    let errno = read.map(drop).map_err(|error| error.raw_os_error());
    assert_eq!(errno, Err(Some(rustix::io::Errno::IO.raw_os_error())));
    crate::support::wait_until("the damage is in the log", 5, || mount.log().contains(VICTIM));
    let log = mount.log();
    let line = log.lines().find(|line| line.contains(VICTIM)).expect("there is a line");
    assert!(line.contains(&chunk[..12]), "{line} does not name chunk {chunk}");
    for name in ["a-healthy-file", "z-healthy-file"] {
        let expected = std::fs::read(fixture.source.join(name)).expect("it can be read");
        assert!(std::fs::read(shown.join(name)).expect(name) == expected, "{name}");
    }
    let entries = std::fs::read_dir(&shown).expect("it can be listed").count();
    assert_eq!(entries, 3, "the directory is whole");
    mount.unmount();
}

#[test]
fn cat_of_a_damaged_file_gives_code_4_and_says_what_is_damaged() {
    let (fixture, chunk) = damaged();
    let path = |name: &str| format!("{}:{}/{name}", fixture.id, fixture.source.display());
    let line = fixture.repo.run(["cat", &path(VICTIM)]).fails(4, &[]);
    let named = line.contains(VICTIM) || line.contains(&chunk[..12]);
    assert!(named, "{line} names neither the path nor the chunk {chunk}");
    let healthy = fixture.repo.ok(["cat", &path("z-healthy-file")]);
    let expected = std::fs::read(fixture.source.join("z-healthy-file")).expect("it can be read");
    assert!(healthy.stdout == expected);
}

#[test]
fn a_version_that_damage_hides_is_listed_and_the_others_stay_readable() {
    if !require_fuse() {
        return;
    }
    let mut rng = Rng::new(78);
    // So small that they lie in the tree of the directory itself.
    let contents = [(); 3].map(|()| rng.bytes(200));
    let fixture = Fixture::built(|source| file(&directory(source).join(VICTIM), &contents[0]));
    for content in &contents[1..] {
        file(&fixture.source.join(VICTIM), content);
        fixture.repo.create(&fixture.source);
    }
    rot_tree(&fixture.repo, 200, 1);
    let mount = fixture.mount();
    let inner = fixture.source.strip_prefix("/").expect("it is absolute").join(VICTIM);
    let versions = mount.point().join("versions").join(inner);
    let entries = std::fs::read_dir(versions).expect("it can be listed");
    let mut links: Vec<_> = entries.map(|entry| entry.expect("listed").path()).collect();
    // The shared second may have put them out of order.
    links.sort_by_key(|link| std::fs::symlink_metadata(link).expect("listed").modified().ok());
    let read: Vec<_> = links.iter().map(|link| std::fs::read(link).ok()).collect();
    assert!(read == [Some(contents[0].clone()), None, Some(contents[2].clone())]);
    mount.unmount();
}

#[test]
fn ls_and_tree_pass_over_a_damaged_directory_name_it_and_end_with_4() {
    let mut rng = Rng::new(79);
    let fixture = Fixture::built(|source| {
        for (name, files) in [("before", 1), ("hurt", 4), ("with", 1)] {
            // Small files lie in the tree, so one tree is larger than all others.
            let inside = source.join(name);
            directory(&inside);
            for number in 0..files {
                file(&inside.join(format!("inner-{number}")), &rng.bytes(250));
            }
        }
        directory(source);
    });
    rot_tree(&fixture.repo, 1000, 0);
    let source = fixture.source.strip_prefix("/").expect("it is absolute").display();
    for (command, listed) in [(["ls", "-R"], "/inner-"), (["tree", "--depth=9"], "inner-")] {
        for named in ["latest".to_owned(), format!("latest:{source}")] {
            let outcome = fixture.repo.run([&command[..], &[&named]].concat()).expect(4);
            let said = format!("so {source}/hurt was not seen whole");
            assert!(outcome.error().contains(&said), "{command:?} {named}: {}", outcome.error());
            let text = outcome.text();
            assert_eq!(text.matches(listed).count(), 2, "{command:?} {named}: {text}");
            assert!(text.contains("with"), "{command:?} {named}: {text}");
        }
    }
}
