//! What tests of several modules build repositories from.

use std::sync::Arc;

use crate::base::time::Timestamp;
use crate::dag::{Counters, Kind, Manifest, Node, Owner, TreeRef};

/// A node with nothing special about it.
pub(crate) fn node(kind: Kind) -> Node {
    let owner = Arc::new(Owner::default());
    Node {
        kind,
        mode: 0o755,
        owner,
        mtime: Timestamp::default(),
        atime: None,
        changed_while_read: false,
        links: None,
        xattrs: vec![],
    }
}

/// A snapshot of a tree, taken so many seconds after the epoch.
pub(crate) fn manifest(root: TreeRef, seconds: i64) -> Manifest {
    Manifest {
        time: Timestamp::new(seconds, 0).unwrap(),
        finished: Timestamp::default(),
        host: "host".into(),
        user: "user".into(),
        sources: vec![b"/etc".to_vec()],
        description: String::new(),
        tags: vec![],
        parent: None,
        excludes: vec![],
        program: "test".into(),
        counters: Counters::default(),
        errors: vec![],
        root: node(Kind::Directory(root)),
    }
}
