//! The mount helper: what the program does when mount(8) calls it by the name
//! of `mount.icecore` or `mount.fuse.icecore`.
//!
//! It turns `SOURCE DIR [-sfnv] [-N NAMESPACE] [-o OPTIONS] [-t TYPE]` into a
//! command line of `icecore mount`, and its exit code into one of mount(8)'s.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use clap::Parser as _;
use clap::error::ErrorKind;

use crate::base::name::printable;
use crate::cli::args::{Arguments, Command, size};
use crate::cli::exit;
use crate::cli::output::path_text;
use crate::fuse::find_mount;
use crate::view::TimeFormat;

/// The names under which the program is a mount helper.
const NAMES: [&str; 2] = ["mount.icecore", "mount.fuse.icecore"];
const USAGE: &str = "usage: mount.icecore SOURCE DIR [-sfnv] [-o OPTIONS] [-t TYPE]";
const NO_NAMESPACES: &str = "-N is not supported; use `nsenter --mount=NAMESPACE icecore mount`";
/// mount(8)'s exit codes.
const INCORRECT: u8 = 1;
const FAILED: u8 = 32;
/// Options that are for mount(8) and others before us, or ask for what every
/// icecore mount is anyway.
const IGNORED: &str = "ro defaults auto noauto user nouser users nousers owner noowner group \
    nogroup _netdev _rnetdev nofail fail exec suid nosuid dev nodev sync async atime noatime \
    diratime nodiratime relatime norelatime strictatime nostrictatime lazytime nolazytime silent \
    loud";
/// Beginnings of more of them.
const IGNORED_BEGINNINGS: [&str; 5] = ["x-", "X-", "comment=", "user=", "uhelper="];

/// What mount(8) asks for.
#[derive(Debug, Default)]
struct Request {
    places: Vec<OsString>,
    /// Options of `icecore mount`.
    options: Vec<OsString>,
    /// `rw` is asked for, as mount(8) does by itself if nobody says `ro`.
    writable: bool,
    /// Only look whether the request makes sense.
    fake: bool,
    verbose: bool,
    /// Pass over unknown options.
    sloppy: bool,
}

/// Whether the program was called by the name of a mount helper.
pub(crate) fn is_meant(words: &[OsString]) -> bool {
    let name = words.first().and_then(|word| Path::new(word).file_name());
    name.is_some_and(|name| NAMES.iter().any(|helper| name == *helper))
}

/// Mounts as mount(8) asks, and returns its exit code.
pub(crate) fn main(words: &[OsString]) -> u8 {
    let request = match Request::parse(words.get(1..).unwrap_or_default()) {
        Ok(request) => request,
        Err(problem) => return refuse(INCORRECT, &problem),
    };
    let [_, directory] = request.places.as_slice() else { return refuse(INCORRECT, USAGE) };
    let directory = Path::new(directory);
    // A dead mount is told of later, in words of its own.
    let there = fs::canonicalize(directory).ok().and_then(|place| find_mount(&place));
    if there.is_some() {
        return refuse(FAILED, &format!("{} is an icecore mount already", path_text(directory)));
    }
    if request.fake {
        return 0;
    }
    if request.writable {
        say(&format!("{} is mounted read-only, as snapshots are", path_text(directory)));
    }
    match super::super::run(&request.command_line()) {
        0 => 0,
        exit::USAGE => INCORRECT,
        _ => FAILED,
    }
}

/// Understands any words, and what is made of them, for fuzzers.
///
/// # Errors
/// Fails if mount(8) is told that they are wrong, and with what words.
///
/// # Panics
/// If they are taken and `icecore mount` then has more against them than that an option
/// stands beside one that excludes it.
pub(crate) fn decode_any(words: &[OsString]) -> Result<(), String> {
    let request = Request::parse(words)?;
    let is_whole = request.places.len() == 2 && request.places.iter().all(|it| !it.is_empty());
    let places = request.places.clone();
    match Arguments::try_parse_from(request.command_line()) {
        Ok(arguments) => {
            let taken: Vec<PathBuf> = match arguments.command {
                Command::Mount(mount) => {
                    mount.source.into_iter().chain([mount.mountpoint]).collect()
                }
                _ => Vec::new(),
            };
            assert!(places.iter().eq(&taken), "another command, or other places");
        }
        Err(error) => {
            let is_conflict = error.kind() == ErrorKind::ArgumentConflict;
            assert!(is_conflict || !is_whole, "{error}");
        }
    }
    Ok(())
}

fn say(text: &str) {
    let _ = writeln!(io::stderr(), "icecore: {text}");
}

fn refuse(code: u8, problem: &str) -> u8 {
    say(problem);
    code
}

impl Request {
    fn parse(words: &[OsString]) -> Result<Self, String> {
        let mut request = Self::default();
        let mut lists = Vec::new();
        let mut words = words.iter().map(|word| word.as_bytes());
        while let Some(word) = words.next() {
            let Some((b'-', mut flags)) = word.split_first().filter(|_| word.len() > 1) else {
                request.places.push(OsStr::from_bytes(word).to_owned());
                continue;
            };
            while let Some((flag, rest)) = flags.split_first() {
                flags = rest;
                match flag {
                    b's' => request.sloppy = true,
                    b'f' => request.fake = true,
                    b'v' => request.verbose = true,
                    // There is no table of mounts to leave alone any more.
                    b'n' => {}
                    b'o' | b't' | b'N' => {
                        let value = Some(rest).filter(|rest| !rest.is_empty());
                        let value = value.or_else(|| words.next()).ok_or(USAGE)?;
                        flags = &[];
                        match flag {
                            b'o' => lists.push(value),
                            b'N' => return Err(NO_NAMESPACES.to_owned()),
                            // The type by which mount(8) found us.
                            _ => {}
                        }
                    }
                    _ => return Err(format!("{} is unknown; {USAGE}", printable(word))),
                }
            }
        }
        // Only now is it known whether unknown ones are passed over.
        for list in lists {
            for (index, option) in list.split(|byte| *byte == b',').enumerate() {
                request.apply(index, option)?;
            }
        }
        Ok(request)
    }

    fn apply(&mut self, index: usize, option: &[u8]) -> Result<(), String> {
        let (name, value) = match option.iter().position(|byte| *byte == b'=') {
            Some(at) => (&option[..at], Some(&option[at + 1..])),
            None => (option, None),
        };
        match (name, value) {
            (b"", None) => {}
            (b"allow_other", None) => self.put("--allow-other", b""),
            (b"samba", None) => self.put("--samba", b""),
            (b"no_pin", None) => self.put("--no-pin", b""),
            (b"no_poll", None) => self.put("--no-poll", b""),
            (b"noexec", None) => self.put("--no-exec", b""),
            (b"cache_size", Some(value)) => {
                let sized = text(value).and_then(size);
                sized.map_err(|problem| format!("cache_size: {problem}"))?;
                self.put("--cache-size=", value);
            }
            (b"by_time_format", Some(value)) => {
                let format = text(value).and_then(TimeFormat::new);
                format.map_err(|problem| format!("by_time_format: {problem}"))?;
                self.put("--by-time-format=", value);
            }
            (b"log_file", Some(value)) if !value.is_empty() => self.put("--log-file=", value),
            (b"password_file", Some(value)) if !value.is_empty() => {
                self.put("--password-file=", value);
            }
            (b"password_command", Some(value)) if !value.is_empty() => {
                self.put("--password-command=", value);
            }
            (b"key_file", Some(value)) if !value.is_empty() => self.put("--key-file=", value),
            // mount(8) puts it there unless somebody said `ro`.
            (b"rw", None) if index == 0 => self.writable = true,
            (b"rw", None) => return Err("rw is refused: an icecore mount is read-only".to_owned()),
            (b"remount", None) => {
                return Err("an icecore mount cannot be remounted; unmount it first".to_owned());
            }
            _ if is_ignored(option) || self.sloppy => {}
            _ => return Err(format!("the mount option {} is unknown", printable(option))),
        }
        Ok(())
    }

    /// Adds an option. Of one that comes twice the last counts: mount(8) puts those of its
    /// command line behind those of fstab.
    fn put(&mut self, option: &str, value: &[u8]) {
        self.options.retain(|other| !other.as_bytes().starts_with(option.as_bytes()));
        let mut word = OsString::from(option);
        word.push(OsStr::from_bytes(value));
        self.options.push(word);
    }

    fn command_line(self) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec!["icecore".into(), "mount".into()];
        words.extend((!self.verbose).then(|| "--quiet".into()));
        words.extend(self.options);
        // Neither of them begins with a dash.
        words.extend(self.places);
        words
    }
}

/// What `icecore mount` takes for text.
fn text(value: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(value).map_err(|_| "it is not text".to_owned())
}

fn is_ignored(option: &[u8]) -> bool {
    IGNORED.split_whitespace().any(|ignored| ignored.as_bytes() == option)
        || IGNORED_BEGINNINGS.iter().any(|beginning| option.starts_with(beginning.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Request, String> {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        Request::parse(&words)
    }

    fn command_line(line: &str) -> String {
        let words = parse(line).unwrap().command_line();
        words.join(OsStr::new(" ")).into_string().unwrap()
    }

    #[test]
    fn what_mount_passes_becomes_a_command_line() {
        // As util-linux calls it for a line of fstab.
        let line = "/repo /mnt -v -o rw,noexec,nosuid,nodev,allow_other,cache_size=1G,nofail,user";
        let options = "--no-exec --allow-other --cache-size=1G";
        assert_eq!(command_line(line), format!("icecore mount {options} /repo /mnt"));
        assert!(parse(line).unwrap().writable);
        let line =
            "-sno ro,log_file=/x=y,x-systemd.automount,no_pin,no_poll,what=ever /repo /mnt -tfuse";
        let options = "--quiet --log-file=/x=y --no-pin --no-poll";
        let secret = command_line("/repo /mnt -v -o password_file=/p,ro");
        assert_eq!(secret, "icecore mount --password-file=/p /repo /mnt");
        assert_eq!(command_line(line), format!("icecore mount {options} /repo /mnt"));
        assert!(!parse(line).unwrap().writable && !parse(line).unwrap().fake);
        assert!(parse("/repo /mnt -f").unwrap().fake);
    }

    #[test]
    fn of_an_option_that_comes_twice_the_last_counts() {
        let line = "/repo /mnt -v -o ro,samba,cache_size=1G,log_file=/a,samba,cache_size=2G";
        let options = "--log-file=/a --samba --cache-size=2G";
        assert_eq!(command_line(line), format!("icecore mount {options} /repo /mnt"));
    }

    #[test]
    fn what_is_no_text_is_refused_where_text_is_meant() {
        for option in [&b"by_time_format=%Y\xff"[..], b"cache_size=1\xff"] {
            let words = [&b"/repo"[..], b"/mnt", b"-o", option];
            let words = words.map(|word| OsStr::from_bytes(word).to_owned());
            assert!(decode_any(&words).unwrap_err().contains("not text"));
        }
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_name() {
        for (line, word) in [
            ("/repo /mnt -o allow_other,rw", "rw"),
            ("/repo /mnt -o ro,frobnicate=1", "frobnicate"),
            ("/repo /mnt -o cache_size=much", "cache_size"),
            ("/repo /mnt -o cache_size", "cache_size"),
            ("/repo /mnt -o by_time_format=%!", "by_time_format"),
            ("/repo /mnt -o allow_other=1", "allow_other"),
            ("/repo /mnt -o log_file=", "log_file"),
            ("/repo /mnt -o remount,ro", "remount"),
            ("/repo /mnt -N /proc/1/ns/mnt", "-N"),
            ("/repo /mnt -q", "-q"),
            ("/repo /mnt -o", "usage"),
        ] {
            let problem = parse(line).unwrap_err();
            assert!(problem.contains(word), "{line}: {problem}");
        }
    }

    #[test]
    fn only_the_names_of_a_helper_make_one() {
        let is = |name: &str| is_meant(&[OsString::from(name)]);
        assert!(is("/sbin/mount.icecore") && is("mount.fuse.icecore"));
        assert!(!is("/usr/bin/icecore") && !is("mount.fuse") && !is_meant(&[]));
    }
}
