//! Holding reading to a rate.

use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::base::progress::Monitor;

/// The longest sleep between two looks at whether the work was cancelled.
const NAP: Duration = Duration::from_millis(50);

/// Unused time that may be made up for: sleeps are never exact.
const SLACK: Duration = Duration::from_millis(100);

/// Lets so many bytes pass in a second, shared by all that read.
#[derive(Debug)]
pub(crate) struct RateLimiter {
    bytes_per_second: Option<u64>,
    free_at: Mutex<Instant>,
}

impl RateLimiter {
    pub(crate) fn new(bytes_per_second: Option<u64>) -> Self {
        Self { bytes_per_second, free_at: Mutex::new(Instant::now()) }
    }

    /// Waits until the bytes read before have had their time, then charges
    /// these. Returns early if the work was cancelled.
    pub(crate) fn take(&self, bytes: usize, monitor: &dyn Monitor) {
        let Some(rate) = self.bytes_per_second else { return };
        let wait_until = self.charge(bytes, rate, Instant::now());
        loop {
            let left = wait_until.saturating_duration_since(Instant::now());
            if left.is_zero() || monitor.cancelled() {
                return;
            }
            sleep(left.min(NAP));
        }
    }

    fn charge(&self, bytes: usize, rate: u64, now: Instant) -> Instant {
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        // What was not used long ago is lost: no bursts.
        let earliest = now.checked_sub(SLACK).unwrap_or(now);
        let begin = (*free_at).max(earliest);
        *free_at = begin + Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
        begin
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_their_time_and_idle_time_is_not_saved_up() {
        let limiter = RateLimiter::new(Some(1000));
        let start = Instant::now() + Duration::from_secs(1);
        assert_eq!(limiter.charge(500, 1000, start), start - SLACK);
        let next = start - SLACK + Duration::from_millis(500);
        assert_eq!(limiter.charge(1, 1000, start), next);
        let later = start + Duration::from_secs(10);
        assert_eq!(limiter.charge(1, 1000, later), later - SLACK);
    }
}
