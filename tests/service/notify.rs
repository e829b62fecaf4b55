//! Readiness by the protocol of `sd_notify`, and the unit files.

use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::args;
use crate::support::command::{run, try_tool};
use crate::support::fixture::Fixture;
use crate::support::mount::{Mount, is_mounted};
use crate::support::need::require_fuse;
use crate::support::scratch::Scratch;

/// A service manager's ear.
struct Ear {
    socket: UnixDatagram,
    name: String,
    _scratch: Scratch,
}

impl Ear {
    fn new(is_abstract: bool) -> Self {
        let scratch = Scratch::new();
        let path = scratch.join("notify").display().to_string();
        let (address, name) = if is_abstract {
            (SocketAddr::from_abstract_name(&path), format!("@{path}"))
        } else {
            (SocketAddr::from_pathname(&path), path)
        };
        let socket = UnixDatagram::bind_addr(&address.expect("an address"));
        Self { socket: socket.expect("a socket can be bound"), name, _scratch: scratch }
    }

    /// What is heard within some time.
    fn hear(&self, within: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(within)).expect("it can be set");
        let mut bytes = [0; 500];
        match self.socket.recv(&mut bytes) {
            Ok(length) => Some(String::from_utf8_lossy(&bytes[..length]).into_owned()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        }
    }
}

fn says(heard: Option<&str>, word: &str) -> bool {
    heard.is_some_and(|heard| heard.lines().any(|line| line == word))
}

#[test]
fn a_foreground_mount_tells_once_it_serves_and_again_when_it_ends() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::plain();
    for is_abstract in [false, true] {
        for by_signal in [false, true] {
            let ear = Ear::new(is_abstract);
            let mut mount = Mount::foreground_with(&fixture.repo, |command| {
                command.env("NOTIFY_SOCKET", &ear.name);
            });
            let ready = ear.hear(Duration::from_secs(20));
            assert!(says(ready.as_deref(), "READY=1"), "{ready:?}");
            assert_eq!(ear.hear(Duration::from_millis(50)), None, "told twice");
            if by_signal {
                assert_eq!(mount.end_by(Signal::TERM), 0, "{}", mount.log());
            } else {
                mount.unmount();
            }
            let stopping = ear.hear(Duration::from_secs(20));
            assert!(says(stopping.as_deref(), "STOPPING=1"), "{stopping:?}");
        }
    }
}

#[test]
fn when_it_says_ready_it_serves() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::plain();
    let ear = Ear::new(false);
    let point = fixture.scratch.mkdir("mnt");
    let mut command = fixture.repo.command(args!["mount", "--foreground", "--quiet", &point]);
    let mut child = command.env("NOTIFY_SOCKET", &ear.name).spawn().expect("icecore starts");
    let ready = ear.hear(Duration::from_secs(20));
    let shown = point.join(&fixture.id).exists();
    fixture.repo.ok(args!["umount", &point]);
    child.wait().expect("it can be waited for");
    assert!(says(ready.as_deref(), "READY=1"), "{ready:?}");
    assert!(shown, "ready, but not serving");
}

#[test]
fn a_mount_in_the_background_leaves_the_socket_to_whoever_it_is_for() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::plain();
    let ear = Ear::new(false);
    let point = fixture.scratch.mkdir("mnt");
    let mut command = fixture.repo.command(args!["mount", &point]);
    run(command.env("NOTIFY_SOCKET", &ear.name)).expect(0);
    fixture.repo.ok(args!["umount", &point]);
    assert_eq!(ear.hear(Duration::from_millis(100)), None);
}

#[test]
fn a_service_manager_that_is_gone_keeps_nobody_from_serving() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::plain();
    let mount = Mount::foreground_with(&fixture.repo, |command| {
        command.env("NOTIFY_SOCKET", "/nowhere/notify");
    });
    crate::support::wait_until("it says so", 10, || mount.log().contains("service manager"));
    assert!(is_mounted(mount.point()));
    mount.unmount();
}

#[test]
fn the_unit_files_are_sound() {
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/systemd");
    let service = std::fs::read_to_string(units.join("icecore-mount.service"));
    let service = service.expect("the unit is there");
    assert!(service.contains("Type=notify\n") && service.contains("ExecReload="));
    if try_tool("sh", ["-c", "command -v systemd-analyze"]).code != 0 {
        return eprintln!("SKIPPED: systemd-analyze is not installed");
    }
    // The program is not where the unit has it; a shell is.
    let scratch = Scratch::new();
    for unit in std::fs::read_dir(&units).expect("it can be listed").flatten() {
        let text = std::fs::read_to_string(unit.path()).expect("it can be read");
        let text = text.replace("/usr/local/bin/icecore", "/bin/sh");
        let path = scratch.path().join(unit.file_name());
        std::fs::write(&path, text).expect("it can be written");
        let verified = try_tool("systemd-analyze", args!["verify", "--man=no", &path]);
        assert_eq!((verified.code, verified.error()), (0, String::new()), "{}", path.display());
    }
}
