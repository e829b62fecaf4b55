//! Texts that would steer a terminal, leave a directory or fill a screen.

use super::forge::{Item, Labels};
use super::verbs::{Case, survives};

/// Clears the screen, sets the title, rings, turns text around, and a C1 control.
pub(super) const STEERING: &str =
    "\u{1b}[2J\u{1b}]0;owned\u{7}\r\u{202e}gpj\u{9b}31m\u{7f}\u{2066}";

pub(super) fn steering() -> Labels {
    let text = || STEERING.to_owned();
    Labels {
        host: text(),
        user: text(),
        source: STEERING.as_bytes().to_vec(),
        description: text(),
        tags: vec![text(), "line\nbreak".to_owned()],
        exclude: text(),
        program: text(),
        errors: vec![text(), "icecore: a line that looks like another\nicecore: x".to_owned()],
        ..Labels::default()
    }
}

#[test]
fn texts_of_a_snapshot_steer_no_terminal() {
    survives(|forge| {
        let deep = forge.directory(&[
            Item::inline(STEERING.as_bytes(), b"x"),
            Item::symlink(b"link", STEERING.as_bytes()),
        ]);
        let root = forge
            .directory(&[Item::directory(STEERING.as_bytes(), deep), Item::inline(b"file", b"x")]);
        Case::new(forge.snapshot(root, &steering()), 0)
    });
}

#[test]
fn names_of_what_is_damaged_steer_no_terminal() {
    survives(|forge| {
        let deep = forge.directory(&[Item::segments(STEERING.as_bytes(), &[(Some([1; 32]), 5)])]);
        let root = forge
            .directory(&[Item::directory(STEERING.as_bytes(), deep), Item::inline(b"file", b"x")]);
        Case::new(forge.snapshot(root, &steering()), 4)
    });
}

#[test]
fn tags_and_hosts_lead_out_of_no_directory_of_a_mount() {
    survives(|forge| {
        let root = forge.directory(&[Item::inline(b"file", b"x")]);
        let names = ["..", ".", "", "/", "../../etc", "a/b", "nul\0", "latest"];
        let mut id = String::new();
        for (number, name) in names.iter().enumerate() {
            let tags = vec![(*name).to_owned(), "x".repeat(60_000), name.repeat(100)];
            let labels = Labels {
                time: 1_600_000_000 + number as i64,
                host: (*name).to_owned(),
                tags,
                ..Labels::default()
            };
            id = forge.snapshot(root, &labels);
        }
        Case::new(id, 0)
    });
}
