//! Mounts of an encrypted repository by mount(8), fstab and the service manager.

use std::fs;

use super::Locked;
use crate::service::helper::with_mount;
use crate::support::command::{icecore, run};
use crate::support::need::require_fuse;
use crate::support::{args, mount};

/// Behind the helpers' place in /sbin; the secrets lie beside the repository.
const SCRIPT: &str = r#"
secrets=$(dirname "$repo")
cp "$secrets/first" "$work/pass word"
shown() {
    grep -q 'attack at dawn' "$point/latest/source/plans"
    pid=$(getfattr --only-values -n user.icecore.pid "$point")
    ! tr '\0' '\n' < "/proc/$pid/environ" | grep ICECORE_PASSWORD
    umount "$point"
    while [ -e "/proc/$pid" ]; do sleep 0.05; done
}
mount -t icecore -o "ro,password_file=$secrets/first" "$repo" "$point" && shown
mount -t fuse.icecore -o "ro,key_file=$secrets/key" "$repo" "$point" && shown
mount -t icecore -o "ro,password_command=cat $secrets/first" "$repo" "$point" && shown
ICECORE_PASSWORD=first mount -t icecore -o ro "$repo" "$point" && shown
line() {
    printf '%s %s icecore ro,noauto,%s 0 0\n' "$repo" "$point" "$1" > "$work/fstab"
    mount --fstab "$work/fstab" "$point"
}
line "password_file=$work/pass\\040word" && shown
line "password_command=cat\\040$secrets/first" && shown
line "key_file=$secrets/key" && shown
refused() {
    code=0
    line "$1" 2> "$work/error" || code=$?
    [ "$code" = 32 ]
    grep -i "$2" "$work/error"
    [ "$(wc -l < "$work/error")" = 1 ]
    ! mountpoint -q "$point"
}
refused "password_file=$secrets/wrong" 'wrong password'
refused "password_file=$secrets/none" "$secrets/none"
refused "key_file=$secrets/first" 'no key file'
refused "password_command=false" 'password command'
refused "nofail" 'encrypted'
"#;

#[test]
fn mount_and_fstab_take_a_password_file_a_key_file_or_a_command() {
    let locked = Locked::new();
    locked.create(&[]);
    locked.run("first", &["key", "add", "--new-key-file", "key"]).expect(0);
    with_mount(SCRIPT, &[icecore().into(), locked.repo().into()]);
}

#[test]
fn a_mount_by_the_service_manager_is_given_its_password_as_a_credential() {
    if !require_fuse() {
        return;
    }
    let locked = Locked::new();
    locked.create(&[]);
    locked.file("credentials/icecore.password", b"first\n");
    let point = locked.place("mnt");
    fs::create_dir(&point).unwrap();
    let mut command = locked.command(&["mount"]);
    command.arg(&point).env("CREDENTIALS_DIRECTORY", locked.place("credentials"));
    run(&mut command).expect(0);
    // The service manager takes credentials away; what serves goes on.
    fs::remove_dir_all(locked.place("credentials")).unwrap();
    let shown = fs::read_to_string(point.join("latest/source/plans"));
    let ended = run(locked.command(&[]).args(args!["umount", &point]));
    if mount::is_mounted(&point) {
        mount::detach(&point);
    }
    ended.expect(0);
    assert!(shown.unwrap().starts_with("attack at dawn"));
}
