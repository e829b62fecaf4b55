//! Labels of SELinux and ACLs: tools ask for one of every file, and stop if they
//! hear that there are none in the whole mount.

use std::path::Path;

use rustix::fs::lgetxattr;
use rustix::io::Errno;

use crate::support::args;
use crate::support::command::{run, run_tool};
use crate::support::fixture::Fixture;
use crate::support::generate::xattr;
use crate::support::mount::Mount;
use crate::support::need::require_root;
use crate::support::repo::id_of;

const LABEL: &str = "security.selinux";
const ACL: &str = "system.posix_acl_access";

#[test]
fn where_nothing_has_a_label_or_an_acl_tools_hear_that_these_are_not_supported() {
    let fixture = Fixture::plain();
    let mount = fixture.mount();
    let file = fixture.in_mount(&mount).join("directory-0/file-0");
    for name in [LABEL, ACL] {
        assert_eq!(lgetxattr(&file, name, &mut [0_u8; 64]), Err(Errno::OPNOTSUPP), "{name}");
    }
    assert_eq!(lgetxattr(&file, "user.none", &mut [0_u8; 64]), Err(Errno::NODATA));
    mount.unmount();
}

#[test]
fn an_acl_of_a_snapshot_that_came_later_shows_in_a_mount_that_had_none() {
    let fixture = Fixture::plain();
    let mount = fixture.mount();
    let first = fixture.in_mount(&mount).join("directory-0/file-0");
    assert_eq!(lgetxattr(&first, ACL, &mut [0_u8; 64]), Err(Errno::OPNOTSUPP));
    let file = fixture.source.join("directory-1/file-10");
    run_tool("setfacl", args!["-m", "user:4711:rw", &file]);
    let id = fixture.repo.create(&fixture.source);
    let shown = mount.source(&id, &fixture.source).join("directory-1/file-10");
    let text = |path: &Path| run_tool("getfacl", args!["-cE", path]).text();
    assert_eq!(text(&shown), text(&file));
    assert!(text(&shown).contains("user:4711:rw-"), "{}", text(&shown));
    assert_eq!(lgetxattr(&first, ACL, &mut [0_u8; 64]), Err(Errno::NODATA));
    mount.unmount();
    // A mount that begins with it shows the same.
    let mount = fixture.mount();
    assert_eq!(text(&mount.source(&id, &fixture.source).join("directory-1/file-10")), text(&file));
    mount.unmount();
}

#[test]
fn where_a_snapshot_is_labelled_each_file_says_whether_it_is() {
    if !require_root("labelling files") {
        return;
    }
    let fixture = Fixture::plain();
    let first = fixture.source.join("directory-0/file-0");
    for path in [&fixture.source, &first] {
        xattr(path, LABEL, b"system_u:object_r:etc_t:s0");
    }
    let mut command = fixture.repo.command(args!["create", "--json", "."]);
    let id = id_of(&run(command.current_dir(&fixture.source)).expect(0).last_json_line());
    let mount = Mount::new(&fixture.repo);
    let label = |name: &str| {
        let mut value = [0_u8; 64];
        lgetxattr(mount.snapshot(&id).join(name), LABEL, &mut value)
            .map(|length| value[..length].to_vec())
    };
    assert_eq!(label("directory-0/file-0").unwrap(), b"system_u:object_r:etc_t:s0");
    assert_eq!(label("directory-0/file-1"), Err(Errno::NODATA));
    mount.unmount();
}
