//! The fingerprint of a source item, which tells the next snapshot whether
//! anything changed.

use crate::base::codec::Encoder;
use crate::base::time::Timestamp;
use crate::dag::Owner;
use crate::local::Status;
use crate::repository::Fingerprint;

/// Whether a later change is sure to give an item other times. A clock ticks in
/// steps: what was written in the same step as a change to come would look
/// unchanged ever after.
fn is_settled(status: &Status, now: Timestamp, ignore_ctime: bool) -> bool {
    let whole_seconds = status.ctime.nanoseconds() == 0 && status.mtime.nanoseconds() == 0;
    let margin_ms = if whole_seconds { 2000 } else { 100 };
    // An mtime can be set to anything, the future too.
    let changed = milliseconds(if ignore_ctime { status.mtime } else { status.ctime });
    changed.saturating_add(margin_ms) <= milliseconds(now)
}

fn milliseconds(time: Timestamp) -> i64 {
    time.seconds().saturating_mul(1000).saturating_add(i64::from(time.nanoseconds() / 1_000_000))
}

/// How changes are detected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Detection {
    /// Read every file again.
    pub force: bool,
    /// Do not compare inode numbers: some network file systems change them.
    pub ignore_inode: bool,
    /// Do not compare ctimes. A change that keeps size and mtime goes unseen.
    pub ignore_ctime: bool,
}

/// Makes the fingerprints of one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fingerprinter {
    pub(crate) detection: Detection,
    pub(crate) with_atime: bool,
    /// When the run began, by the clock of the file systems.
    pub(crate) now: Timestamp,
}

impl Fingerprinter {
    /// Bytes that differ between runs whose fingerprints must not be compared.
    pub(crate) fn context(&self, host: &str) -> Vec<u8> {
        let Detection { force: _, ignore_inode, ignore_ctime } = self.detection;
        let mut encoder = Encoder::new();
        for flag in [ignore_inode, ignore_ctime, self.with_atime] {
            encoder.byte(u8::from(flag));
        }
        encoder.bytes(host.as_bytes());
        encoder.finish()
    }

    /// Returns the fingerprint of an item.
    pub(crate) fn of(&self, status: &Status, owner: &Owner) -> Fingerprint {
        let mut encoder = Encoder::with_capacity(128);
        encoder.number(u64::from(status.mode));
        encoder.number(u64::from(status.kind.as_raw_mode()));
        encoder.number(u64::from(status.uid));
        encoder.number(u64::from(status.gid));
        encoder.bytes(owner.user.as_bytes());
        encoder.bytes(owner.group.as_bytes());
        put_time(&mut encoder, status.mtime);
        if !self.detection.ignore_ctime {
            put_time(&mut encoder, status.ctime);
        }
        if !self.detection.ignore_inode {
            encoder.number(status.inode);
        }
        if status.is_directory() {
            // That of other items is compared by itself: their content need not
            // be read for it.
            if self.with_atime {
                put_time(&mut encoder, status.atime);
            }
        } else {
            encoder.number(status.size);
            encoder.number(u64::from(status.links));
            encoder.number(u64::from(status.special.major));
            encoder.number(u64::from(status.special.minor));
        }
        Fingerprint::of(&encoder.finish())
    }

    /// Returns the fingerprint to remember an item by: none if a change might
    /// hide in the step of the clock in which it was looked at.
    pub(crate) fn remembered(&self, status: &Status, owner: &Owner) -> Fingerprint {
        if is_settled(status, self.now, self.detection.ignore_ctime) {
            self.of(status, owner)
        } else {
            Fingerprint::NONE
        }
    }
}

fn put_time(encoder: &mut Encoder, time: Timestamp) {
    encoder.signed(time.seconds());
    encoder.number(u64::from(time.nanoseconds()));
}

#[cfg(test)]
mod tests {
    use rustix::fs::FileType;

    use super::*;
    use crate::dag::Device;

    fn status() -> Status {
        let time = Timestamp::new(1000, 5).unwrap();
        let device = Device { major: 8, minor: 1 };
        Status {
            kind: FileType::RegularFile,
            mode: 0o644,
            device,
            inode: 7,
            links: 1,
            uid: 1,
            gid: 2,
            size: 3,
            allocated: 4096,
            special: device,
            mtime: time,
            ctime: time,
            atime: time,
            nodump: false,
        }
    }

    fn at(seconds: i64) -> Fingerprinter {
        let now = Timestamp::new(seconds, 0).unwrap();
        Fingerprinter { detection: Detection::default(), with_atime: false, now }
    }

    #[test]
    fn every_change_of_metadata_gives_another_fingerprint_but_reading_does_not() {
        let (plain, owner) = (status(), Owner::default());
        let later = Timestamp::new(1000, 6).unwrap();
        let renamed = Owner { user: "other".into(), ..Owner::default() };
        let fingerprint = at(2000).of(&plain, &owner);
        for changed in [
            Status { mode: 0o600, ..plain },
            Status { kind: FileType::Fifo, ..plain },
            Status { inode: 8, ..plain },
            Status { links: 2, ..plain },
            Status { uid: 9, ..plain },
            Status { size: 4, ..plain },
            Status { mtime: later, ..plain },
            Status { ctime: later, ..plain },
        ] {
            assert_ne!(at(2000).of(&changed, &owner), fingerprint, "{changed:?}");
        }
        assert_ne!(at(2000).of(&plain, &renamed), fingerprint);
        assert_eq!(at(2000).of(&Status { atime: later, ..plain }, &owner), fingerprint);
        let moved = Device { major: 9, minor: 9 };
        assert_eq!(at(2000).of(&Status { device: moved, ..plain }, &owner), fingerprint);
    }

    #[test]
    fn what_is_to_be_ignored_is_ignored_and_has_a_context_of_its_own() {
        let (plain, owner) = (status(), Owner::default());
        let other = Status { inode: 8, ctime: Timestamp::new(1500, 1).unwrap(), ..plain };
        let detection = Detection { force: false, ignore_inode: true, ignore_ctime: true };
        let lax = Fingerprinter { detection, ..at(2000) };
        assert_eq!(lax.of(&other, &owner), lax.of(&plain, &owner));
        assert_ne!(lax.context("host"), at(2000).context("host"));
        assert_ne!(at(2000).context("a"), at(2000).context("b"));
        let with_atime = Fingerprinter { with_atime: true, ..at(2000) };
        let listed = Status { kind: FileType::Directory, ..plain };
        let again = Status { atime: Timestamp::new(1500, 1).unwrap(), ..listed };
        assert_ne!(with_atime.of(&again, &owner), with_atime.of(&listed, &owner));
        assert_eq!(at(2000).of(&again, &owner), at(2000).of(&listed, &owner));
    }

    #[test]
    fn what_just_changed_or_changed_in_the_future_is_not_trusted_next_time() {
        let owner = Owner::default();
        let remember =
            |now: i64, status: &Status| at(now).remembered(status, &owner) != Fingerprint::NONE;
        let precise = status();
        assert!(remember(1001, &precise) && !remember(1000, &precise) && !remember(5, &precise));
        let whole = Timestamp::new(1000, 0).unwrap();
        let coarse = Status { mtime: whole, ctime: whole, ..precise };
        assert!(remember(1002, &coarse) && !remember(1001, &coarse));
    }
}
