//! How long the audit log is kept, as the command line and the configuration file
//! say it.
//!
//! ```toml
//! [log]
//! keep-days = 730
//! ```

use std::time::Duration;

use clap::Args;
use serde::Deserialize;

use crate::audit::Retention;

const DAY_SECONDS: u64 = 86_400;

/// What is kept of the log. The keys of the file are the long names of the options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct LogRules {
    /// Keep segments with an event that is not older than this
    #[arg(long, value_name = "DAYS")]
    pub(crate) keep_days: Option<u32>,
    /// Keep this many of the newest segments
    #[arg(long, value_name = "N")]
    pub(crate) keep_segments: Option<u32>,
}

impl LogRules {
    /// Whether they say nothing.
    pub(crate) fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// What the log is asked to keep.
    pub(crate) fn retention(self) -> Retention {
        let age = |days| Duration::from_secs(u64::from(days) * DAY_SECONDS);
        let segments = self.keep_segments.and_then(|keep| usize::try_from(keep).ok());
        Retention { keep_age: self.keep_days.map(age), keep_segments: segments }
    }
}
