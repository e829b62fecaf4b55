//! The details of events in an encrypted repository: what would tell names, paths
//! and tags is sealed, or left out where there is no key.
//!
//! In the clear stay the time, the type, who did it and the ids of snapshots, which
//! tell nothing without the key. Sealed details are the payload's one field
//! `sealed`: XAES-256-GCM in hexadecimal digits over the JSON of the paths and the
//! payload, bound to the event's id and type.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::audit::error::AuditError;
use crate::audit::event::{Body, Subject};
use crate::base::id::{hex, parse_hex_bytes};
use crate::crypto::SealingKey;

const TAG: &[u8] = b"icecore event details 1\0";
const FIELD: &str = "sealed";
/// The one text that is kept where details are left out.
const OPERATION: &str = "operation";

/// How the paths and facts of an event are written.
#[derive(Clone, Debug, Default)]
pub enum Details {
    /// As they are: the repository is not encrypted.
    #[default]
    Clear,
    /// Sealed with this key.
    Sealed(SealingKey),
    /// Left out but for the operation and numbers: there is no key.
    Omitted,
}

#[derive(Serialize, Deserialize)]
struct Hidden {
    paths: Vec<String>,
    paths_omitted: u64,
    payload: Map<String, Value>,
}

impl Details {
    pub(super) fn apply(&self, body: Body) -> Result<Body, AuditError> {
        match self {
            Self::Clear => Ok(body),
            Self::Omitted => Ok(omitted(body)),
            Self::Sealed(key) => sealed(body, key),
        }
    }
}

fn omitted(mut body: Body) -> Body {
    let paths = body.subject.paths.len() as u64;
    body.subject.paths_omitted = body.subject.paths_omitted.saturating_add(paths);
    body.subject.paths.clear();
    body.payload.retain(|name, value| value.is_number() || name == OPERATION);
    body
}

fn sealed(mut body: Body, key: &SealingKey) -> Result<Body, AuditError> {
    let Subject { snapshots, paths, paths_omitted } = std::mem::take(&mut body.subject);
    let payload = std::mem::take(&mut body.payload);
    body.subject.snapshots = snapshots;
    let failed = |error: String| AuditError::Io {
        action: "encrypt an event for",
        path: "log".into(),
        source: std::io::Error::other(error),
    };
    let text = serde_json::to_vec(&Hidden { paths, paths_omitted, payload });
    let text = text.map_err(|error| failed(error.to_string()))?;
    let mut sealed = Vec::new();
    key.seal(&bound(&body), &mut sealed, |target| target.extend_from_slice(&text))
        .map_err(|error| failed(error.to_string()))?;
    body.payload.insert(FIELD.to_owned(), hex(&sealed).into());
    Ok(body)
}

/// The fields of an event with its details, if they are sealed with that key.
pub(super) fn open(body: &Body, key: &SealingKey) -> Option<Body> {
    let sealed = parse_hex_bytes(body.payload.get(FIELD)?.as_str()?)?;
    let text = key.open(&bound(body), &sealed).ok()?;
    let hidden: Hidden = serde_json::from_slice(&text).ok()?;
    let mut body = body.clone();
    body.subject.paths = hidden.paths;
    body.subject.paths_omitted = hidden.paths_omitted;
    body.payload = hidden.payload;
    Some(body)
}

fn bound(body: &Body) -> Vec<u8> {
    [TAG, body.id.as_bytes(), b"\0", body.r#type.as_bytes()].concat()
}
