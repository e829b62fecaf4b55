//! Trees that somebody else made: the system's own.

use std::path::Path;

use crate::support::compare::{Rules, assert_same};
use crate::support::mount::Mount;
use crate::support::need::{require_fuse, require_root};
use crate::support::repo::{Repo, count_of, id_of};
use crate::support::scratch::Scratch;
use crate::support::tools::{cp_copy, diff_prints_nothing, rsync_sees_no_difference, tar_digest};

#[test]
fn usr_share_and_usr_lib_survive_create_mount_and_copy_back() {
    if !require_fuse() || !require_root("reading all of /usr/lib") {
        return;
    }
    let sources = ["/usr/share", "/usr/lib"].map(Path::new);
    let repo = Repo::new();
    let summary = repo.create_json(sources, 0);
    assert!(count_of(&summary, "files") > 1_000, "{summary}");
    let id = id_of(&summary);
    let mount = Mount::new(&repo);
    for source in sources {
        let shown = mount.source(&id, source);
        assert_same(source, &shown, Rules::ALL);
        rsync_sees_no_difference(source, &shown);
        diff_prints_nothing(source, &shown);
        let packed = tar_digest(source);
        assert_eq!(tar_digest(&shown), packed, "tar of {}", source.display());
        copy_back(source, &shown, &packed);
    }
    mount.unmount();
}

fn copy_back(source: &Path, shown: &Path, packed: &str) {
    let scratch = Scratch::new();
    let copy = scratch.join("copy");
    cp_copy(shown, &copy);
    // The three tools read every byte; the comparator needs not.
    assert_same(source, &copy, Rules { blocks: false, ..Rules::QUICK });
    rsync_sees_no_difference(source, &copy);
    diff_prints_nothing(source, &copy);
    assert_eq!(tar_digest(&copy), packed, "tar of the copy of {}", source.display());
}
