//! Mounts of an encrypted repository by mount(8), fstab and the service manager.

use std::fs;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::Locked;
use crate::service::helper::with_mount;
use crate::support::command::{icecore, run};
use crate::support::encrypt::give_password;
use crate::support::generate::file;
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
fn what_serves_a_mount_is_hidden_before_it_is_given_the_key() {
    if !require_fuse() {
        return;
    }
    let locked = Locked::new();
    let point = locked.place("mnt");
    fs::create_dir(&point).unwrap();
    let mut command = Command::new("prlimit");
    command.args(["--core=unlimited", "--", icecore(), "-r"]).arg(locked.repo());
    command.args(["mount", "--foreground", "--announce", "--key-from-stdin"]).arg(&point);
    give_password(&mut command, false);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
    // It waits for the key, which never comes.
    let mut child = child.unwrap();
    let limits = format!("/proc/{}/limits", child.id());
    let is_hidden = || {
        let text = fs::read_to_string(&limits).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("Max core file size"));
        line.unwrap().trim().starts_with('0')
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_hidden() && Instant::now() < deadline {
        sleep(Duration::from_millis(20));
    }
    let hidden = is_hidden();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(hidden, "no core is made of it");
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

#[test]
fn hooks_find_the_password_where_the_profile_has_it_and_not_itself() {
    let locked = Locked::new();
    let (log, config) = (locked.place("log"), locked.place("config.toml"));
    let list = |name: &str| {
        let program = crate::support::command::icecore();
        let line = format!("{} list --json >>{}; env", program, log.display());
        format!("{line} | grep ICECORE >{}-{name}", log.display())
    };
    let by_file = format!("ICECORE_PASSWORD_FILE={}\n", locked.place("first").display());
    for (source, options, expected) in [
        ("password-file = 'first'", &[][..], by_file.as_str()),
        ("password-command = 'cat first'", &[], "ICECORE_PASSWORD_COMMAND=cat first\n"),
        ("", &["--password-file", "first"], &by_file),
    ] {
        let hooks = format!("before = [{:?}]\nafter = [{:?}]", list("before"), list("after"));
        let profile = format!("[profiles.home]\nsources = ['source']\n{source}\n");
        file(&config, format!("{profile}[profiles.home.hooks]\n{hooks}\n").as_bytes());
        let mut command = locked.command(&["--config"]);
        run(command.arg(&config).args(["create", "--profile", "home"]).args(options)).expect(0);
        for hook in ["log-before", "log-after"] {
            let told = fs::read_to_string(locked.place(hook)).expect("it was written");
            assert!(told.contains(expected) && told.contains("ICECORE_PASSWORD=\n"), "{told}");
        }
    }
    let lists = fs::read_to_string(&log).expect("it was written");
    assert_eq!(lists.lines().filter(|line| line.starts_with('[')).count(), 6, "{lists}");
}
