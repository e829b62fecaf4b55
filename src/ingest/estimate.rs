//! How much a snapshot will hold, for those who watch it being taken.

use crate::base::progress::Monitor;
use crate::ingest::pipeline::Stopped;
use crate::ingest::walk::{Items, Met, Visitor};

/// Items between two times that the monitor is told.
const INTERVAL: u64 = 4096;

/// Counts what a walk meets.
pub(crate) struct Estimate<'a> {
    monitor: &'a dyn Monitor,
    items: u64,
    bytes: u64,
}

impl<'a> Estimate<'a> {
    pub(crate) const fn new(monitor: &'a dyn Monitor) -> Self {
        Self { monitor, items: 0, bytes: 0 }
    }

    /// Tells the monitor what was counted.
    pub(crate) fn tell(&self) {
        self.monitor.total(self.items, self.bytes);
    }

    fn count(&mut self, bytes: u64) {
        self.items += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        if self.items.is_multiple_of(INTERVAL) {
            self.tell();
        }
    }
}

impl Visitor for Estimate<'_> {
    fn enter(&mut self, _met: &Met<'_>, _items: &Items) -> Result<(), Stopped> {
        self.count(0);
        Ok(())
    }

    fn leave(&mut self) -> Result<(), Stopped> {
        Ok(())
    }

    fn item(&mut self, met: &Met<'_>) -> Result<(), Stopped> {
        let is_file = met.status.is(rustix::fs::FileType::RegularFile);
        self.count(if is_file { met.status.size } else { 0 });
        Ok(())
    }
}
