//! Exports of a mount through Samba and NFS servers, where these are installed.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::support::command::{Outcome, run_tool, try_tool};
use crate::support::compare::{Rules, assert_same};
use crate::support::fixture::{Fixture, plain_tree};
use crate::support::mount::Mount;
use crate::support::need::{is_root, require_fuse};
use crate::support::{args, wait_until};

/// True if these programs can be run by root here. Otherwise says why not.
fn can_run(programs: &[&str]) -> bool {
    let missing = programs.iter().find(|program| {
        let places = ["/usr/sbin", "/usr/bin"].map(|place| Path::new(place).join(program));
        !places.iter().any(|path| path.exists())
    });
    if let Some(missing) = missing {
        eprintln!("SKIPPED an export: {missing} is not installed");
    } else if !is_root() {
        eprintln!("SKIPPED an export: servers need root");
    }
    missing.is_none() && is_root()
}

/// A server that ends with the test, with all that it started.
struct Server(Child);

impl Server {
    fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.process_group(0).spawn().expect("the server starts"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let group = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        for signal in [Signal::TERM, Signal::KILL] {
            let _gone = group.map(|group| kill_process_group(group, signal));
            std::thread::sleep(std::time::Duration::from_millis(300));
        }
        let _reaped = self.0.wait();
    }
}

/// A port that nobody listens at.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("it has an address").port()
}

/// Two snapshots, the second with a changed file; the content of the first.
fn changed() -> (Fixture, String, Vec<u8>) {
    let fixture = Fixture::plain();
    let file = fixture.source.join("directory-1/file-11");
    let before = fs::read(&file).expect("it can be read");
    // Names by time are of whole seconds.
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    fs::write(&file, "changed").expect("it can be written");
    let newer = fixture.repo.create(&fixture.source);
    (fixture, newer, before)
}

const SMB_CONF: &str = "
[global]
server role = standalone server
map to guest = Bad User
guest account = root
interfaces = lo
bind interfaces only = yes
smb ports = @PORT@
state directory = @STATE@
lock directory = @STATE@
pid directory = @STATE@
cache directory = @STATE@
private dir = @STATE@
ncalrpc dir = @STATE@/ncalrpc
log file = @STATE@/log
disable spoolss = yes
load printers = no

[snapshots]
path = @MOUNT@
read only = yes
guest ok = yes
force user = root

[data]
path = @DATA@
read only = yes
guest ok = yes
force user = root
vfs objects = shadow_copy2
shadow:snapdir = @MOUNT@
shadow:basedir = /
shadow:mountpoint = /
";

struct Samba {
    _server: Server,
    configuration: PathBuf,
    port: u16,
}

impl Samba {
    fn start(fixture: &Fixture, mount: &Mount<'_>) -> Self {
        let (state, port) = (fixture.scratch.mkdir("samba"), free_port());
        let configuration = state.join("smb.conf");
        let mut text = SMB_CONF.replace("@PORT@", &port.to_string());
        for (name, path) in
            [("@STATE@", &*state), ("@MOUNT@", mount.point()), ("@DATA@", &*fixture.source)]
        {
            text = text.replace(name, path.to_str().expect("a text"));
        }
        fs::write(&configuration, text).expect("it can be written");
        let mut command = Command::new("smbd");
        let server =
            Server::start(command.args(["-F", "--no-process-group", "-s"]).arg(&configuration));
        let samba = Self { _server: server, configuration, port };
        wait_until("Samba serves", 30, || samba.try_ask("snapshots", "ls").code == 0);
        samba
    }

    fn try_ask(&self, share: &str, commands: &str) -> Outcome {
        let share = format!("//127.0.0.1/{share}");
        let port = self.port.to_string();
        try_tool(
            "smbclient",
            args!["-N", "-p", port, "-s", &self.configuration, share, "-c", commands],
        )
    }

    #[track_caller]
    fn ask(&self, share: &str, commands: &str) -> String {
        let outcome = self.try_ask(share, commands).expect(0);
        format!("{}{}", outcome.text(), outcome.error())
    }
}

#[test]
fn samba_serves_the_mount_and_previous_versions_of_a_share() {
    if !require_fuse() || !can_run(&["smbd", "smbclient"]) {
        return;
    }
    let (fixture, newer, before) = changed();
    let mount = Mount::with(&fixture.repo, &["--allow-other", "--samba"]);
    let samba = Samba::start(&fixture, &mount);
    // A whole snapshot, byte for byte.
    let copy = fixture.scratch.mkdir("copy");
    let commands = format!("prompt off; recurse on; lcd {}; cd {newer}; mget *", copy.display());
    samba.ask("snapshots", &commands);
    let copied = copy.join(fixture.source.strip_prefix("/").expect("it is absolute"));
    run_tool("diff", args!["-r", &copied, mount.source(&newer, &fixture.source)]);
    // Previous versions, as Windows asks for them.
    let names: Vec<_> = fs::read_dir(mount.point())
        .expect("it can be listed")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a text"))
        .filter(|name| name.starts_with("@GMT-"))
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
    let told = samba.ask("data", "allinfo directory-1\\file-11");
    assert!(names.iter().all(|name| told.contains(name)), "{told}");
    let oldest = names.iter().min().expect("there are two");
    let old = fixture.scratch.join("old");
    samba.ask("data", &format!("get {oldest}\\directory-1\\file-11 {}", old.display()));
    assert!(fs::read(&old).expect("it was copied") == before, "another version");
    mount.unmount();
}

const GANESHA_CONF: &str = "
NFS_CORE_PARAM {
    Protocols = 4;
    NFS_Port = @PORT@;
    Bind_addr = 127.0.0.1;
    Enable_NLM = false;
    Enable_RQUOTA = false;
}
NFSV4 { Graceless = true; }
MDCACHE { Dir_Chunk = 0; }
EXPORT_DEFAULTS { Access_Type = RO; Squash = No_Root_Squash; SecType = sys; Protocols = 4; }
EXPORT {
    Export_Id = 1;
    Path = @MOUNT@;
    Pseudo = /snapshots;
    Filesystem_Id = 7.115;
    FSAL { Name = VFS; }
}
";

#[test]
fn an_nfs_server_serves_the_mount_byte_for_byte() {
    if !require_fuse() || !can_run(&["ganesha.nfsd", "nfs-ls", "nfs-cat"]) {
        return;
    }
    let (fixture, newer, _) = changed();
    let extra = fixture.source.join("extra");
    plain_tree(&extra, 5, 20, 300_000);
    let last = fixture.repo.create(&fixture.source);
    let mount = Mount::with(&fixture.repo, &["--allow-other"]);
    let (state, port) = (fixture.scratch.mkdir("ganesha"), free_port());
    let configuration = state.join("ganesha.conf");
    let text = GANESHA_CONF.replace("@PORT@", &port.to_string());
    let text = text.replace("@MOUNT@", mount.point().to_str().expect("a text"));
    fs::write(&configuration, text).expect("it can be written");
    let mut command = Command::new("ganesha.nfsd");
    command.arg("-F").args(args![
        "-L",
        state.join("log"),
        "-p",
        state.join("pid"),
        "-f",
        &configuration
    ]);
    let server = Server::start(&mut command);
    let url = |path: &str| {
        format!("nfs://127.0.0.1/snapshots{path}?version=4&nfsport={port}&uid=0&gid=0")
    };
    let list = |path: &str| try_tool("nfs-ls", args![url(path)]);
    wait_until("the server serves", 60, || list("").code == 0);
    let listed = list("").text();
    assert!([&fixture.id, &newer, &last].iter().all(|id| listed.contains(*id)), "{listed}");
    let inner = fixture.source.strip_prefix("/").expect("it is absolute").display().to_string();
    let files = run_tool("find", args![&fixture.source, "-type", "f", "-printf", "%P\\n"]).text();
    assert!(files.lines().count() >= 50);
    let content = |name: &str| {
        let path = format!("/{last}/{inner}/{name}");
        run_tool("nfs-cat", args![url(&path)]).stdout
    };
    for name in files.lines() {
        let expected = fs::read(fixture.source.join(name)).expect("it can be read");
        assert!(content(name) == expected, "other bytes in {name}");
    }
    // The kernel forgets all, so that the server's handles are stale.
    run_tool("mount", args!["-i", "-o", "remount,ro", mount.point()]);
    for name in files.lines().take(3) {
        let expected = fs::read(fixture.source.join(name)).expect("it can be read");
        assert!(content(name) == expected, "other bytes in {name} behind a stale handle");
    }
    assert_same(&fixture.source, &mount.source(&last, &fixture.source), Rules::ALL);
    drop(server);
    mount.unmount();
}
