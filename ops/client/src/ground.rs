//! What sessions of every kind stand on: cryptography, the clock, and addresses.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;

use trimaran_process::clock;
use trimaran_transport::Clock;

use crate::error::ClientError;

/// Installs the process's cryptography, for HTTP clients beside this one.
pub fn install_crypto() {
    trimaran_transport::install_crypto_provider();
}

/// The system's clock, by which an operator's machine judges certificates.
pub(crate) fn system_clock() -> Clock {
    Arc::new(clock::system_wall)
}

/// All addresses of the endpoints, in order.
pub(crate) fn addresses(endpoints: &[String]) -> Result<Vec<SocketAddr>, ClientError> {
    let mut found = Vec::new();
    let mut wrong = Vec::new();
    for endpoint in endpoints {
        match endpoint.to_socket_addrs() {
            Ok(addresses) => found.extend(addresses),
            Err(error) => wrong.push(format!("{endpoint}: {error}")),
        }
    }
    if found.is_empty() {
        let attempts = if wrong.is_empty() { "no endpoint is known".to_owned() } else { wrong.join("; ") };
        return Err(ClientError::Unreachable { attempts });
    }
    Ok(found)
}
