//! The first look at a repository that somebody else made.

use crate::base::progress::Monitor;
use crate::check::findings::{Findings, Subject};
use crate::check::{CheckError, CheckReport, go_on};
use crate::repository::Layout;

/// Looks whether the files of the repository's store are such that it may be opened. The
/// report names those that are not, and says nothing of anything else.
///
/// # Errors
/// Fails if they cannot be listed, or if it was cancelled.
pub fn check_files(layout: &Layout, monitor: &dyn Monitor) -> Result<CheckReport, CheckError> {
    let mut findings = Findings::default();
    for fault in layout.forged_files(monitor)? {
        findings.add(Subject::File(fault.file), fault.detail);
    }
    go_on(monitor)?;
    let (damages, omitted) = findings.into_damages();
    Ok(CheckReport { damages, omitted, ..CheckReport::default() })
}
