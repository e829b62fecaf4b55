//! Telling a service manager how it goes, by the protocol of `sd_notify`: a
//! datagram to the socket that `NOTIFY_SOCKET` names.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The service manager that started this process, if one wants to be told.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServiceManager {
    address: Option<SocketAddr>,
}

impl ServiceManager {
    /// Finds the one that the environment names.
    pub(crate) fn find() -> Self {
        Self { address: env::var_os("NOTIFY_SOCKET").and_then(|name| address(&name)) }
    }

    /// Says that the service is ready.
    ///
    /// # Errors
    /// Fails if the service manager cannot be reached: it would wait for ever.
    pub(crate) fn ready(&self, status: &str) -> io::Result<()> {
        self.send(&format!("READY=1\nSTATUS={status}"))
    }

    /// Says that the service is about to end.
    pub(crate) fn stopping(&self) {
        // Whoever does not hear it sees the process end.
        let _ = self.send("STOPPING=1");
    }

    fn send(&self, state: &str) -> io::Result<()> {
        let Some(address) = &self.address else { return Ok(()) };
        UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), address).map(drop)
    }
}

/// The socket's address: a path, or a name without one behind an `@`.
fn address(name: &OsStr) -> Option<SocketAddr> {
    match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name).ok(),
        [b'/', ..] => SocketAddr::from_pathname(name).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_paths_or_abstract_names_and_nothing_else() {
        let of = |name: &str| address(OsStr::new(name));
        assert_eq!(of("@name").unwrap().as_abstract_name(), Some(&b"name"[..]));
        assert!(of("/run/notify").unwrap().as_pathname().is_some());
        assert!(of("vsock:2:1234").is_none() && of("").is_none());
    }
}
