//! Enrolment and renewal, for operators and for `trimaran dev`, which enrolls its parts.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use trimaran_model::error_code;
use trimaran_transport::files::{self, IdentityFiles};
use trimaran_transport::{
    CertificateInfo, CertificateStore, CloseCode, Endpoint, EndpointConfig, EndpointLimits, Session, Trust,
    enroll,
};
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::enroll::{EnrollReply, EnrollRequest};
use trimaran_wire::v1::operator::Refusal;

use crate::config::Context;
use crate::error::{ClientError, protocol};
use crate::ground::{addresses, install_crypto, system_clock};

/// What a token gave.
#[derive(Debug, Clone)]
pub struct Granted {
    pub name: String,
    pub role: String,
    pub cluster: String,
    pub endpoints: Vec<String>,
}

/// Uses a token at the first endpoint that answers and writes `DIR/identity/{cert,key,ca}.pem`. The key is
/// made here and leaves this machine never. `wanted` is `ROLE/NAME` or `ROLE`: a token for another name is refused
/// and stays good.
pub async fn enroll(
    endpoints: &[String],
    token: &str,
    wanted: &str,
    dir: &Path,
) -> Result<Granted, ClientError> {
    install_crypto();
    let parsed: enroll::Token = token
        .parse()
        .map_err(|error: enroll::InvalidToken| bad_token(error.to_string(), "Copy the whole token."))?;
    let (key, csr) =
        enroll::make_key_and_csr(wanted).map_err(|error| ClientError::Identity { why: error.to_string() })?;
    let request = EnrollRequest::Token { token: token.to_owned(), csr };
    let endpoint = bind(None)?;
    let mut attempts = Vec::new();
    let mut foreign = 0;
    for address in addresses(endpoints)? {
        match endpoint.enroll(address, parsed.root()).await {
            Ok(session) => return finish(&session, &request, &key, dir).await,
            Err(error) => {
                foreign += usize::from(error.is_foreign());
                attempts.push(error.to_string());
            }
        }
    }
    if foreign > 0 && foreign == attempts.len() {
        let what = format!("the token is of another cluster than {}", endpoints.join(", "));
        return Err(bad_token(what, "Give an endpoint of the cluster that made the token."));
    }
    Err(ClientError::Unreachable { attempts: attempts.join("; ") })
}

/// A token that is of no use here.
fn bad_token(message: String, help: &str) -> ClientError {
    let code = error_code::TOKEN_UNKNOWN.0;
    let help = Some(help.to_owned());
    ClientError::Refused(Refusal { code, message, cause: None, help, diagnostics: Vec::new() })
}

async fn finish(
    session: &Session,
    request: &EnrollRequest,
    key: &str,
    dir: &Path,
) -> Result<Granted, ClientError> {
    let reply = ask(session, request).await?;
    let EnrollReply::Issued { cert, ca, cluster, name, role, endpoints, agent: _ } = reply else {
        return Err(refused(reply));
    };
    let files = IdentityFiles { cert, key: key.to_owned(), ca };
    files::save_identity(dir, &files).map_err(|error| ClientError::Identity { why: error.to_string() })?;
    Ok(Granted { name, role, cluster, endpoints })
}

/// One request and its reply; the session is closed behind it.
pub async fn ask(session: &Session, request: &EnrollRequest) -> Result<EnrollReply, ClientError> {
    let frame = session.request_one(&request.to_frame()).await;
    session.close(CloseCode::Done, "");
    let frame = frame.map_err(|error| ClientError::Indeterminate { why: error.to_string() })?;
    EnrollReply::from_frame(&frame).map_err(protocol)
}

fn refused(reply: EnrollReply) -> ClientError {
    match reply {
        EnrollReply::Issued { .. } | EnrollReply::Joined(_) => protocol("it is no refusal"),
        EnrollReply::Refused { code, message } => {
            ClientError::Refused(Refusal { code, message, cause: None, help: None, diagnostics: Vec::new() })
        }
    }
}

fn bind(identity: Option<&IdentityFiles>) -> Result<Endpoint, ClientError> {
    let trust = identity.and_then(|files| Trust::from_pem(&files.ca).ok());
    let config = EndpointConfig {
        alpns: Vec::new(),
        trust,
        store: CertificateStore::empty(),
        clock: system_clock(),
        revoked: Arc::new(|_| false),
        reset_key: None,
        limits: EndpointLimits::CLIENT,
    };
    let any = SocketAddr::from(([0, 0, 0, 0], 0));
    Endpoint::bind(any, config).map_err(|error| ClientError::Unreachable { attempts: error.to_string() })
}

/// Renews an operator's certificate in the second half of its validity. A failure changes nothing: the old one may
/// still be good, and the request that follows tells when it is not.
pub(crate) async fn renew_if_due(context: &Context, files: &IdentityFiles) -> Option<IdentityFiles> {
    let store = CertificateStore::new(files).ok()?;
    let info: CertificateInfo = store.info()?;
    let now = system_clock()();
    if now < enroll::renew_at(info.not_before, info.not_after, 0) {
        return None;
    }
    let trust = Trust::from_pem(&files.ca).ok()?;
    let csr = enroll::make_csr(&files.key, "trimaran").ok()?;
    let request = EnrollRequest::Renew { chain: store.chain()?, csr };
    let endpoint = bind(Some(files)).ok()?;
    for address in addresses(&context.endpoints).ok()? {
        let Ok(session) = endpoint.enroll(address, trust.root_fingerprint()).await else { continue };
        if let Ok(EnrollReply::Issued { cert, .. }) = ask(&session, &request).await {
            trimaran_process::files::write_atomically(&context.cert, cert.as_bytes(), 0o644).ok()?;
            return Some(IdentityFiles { cert, ..files.clone() });
        }
    }
    None
}
