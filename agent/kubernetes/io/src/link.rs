//! The way of one identity to its API server: the client, and the signs that come by it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Response, StatusCode};
use http_body_util::BodyExt as _;
use kube::client::{ClientBuilder, DynBody};
use kube::{Client, Config};
use tokio::sync::watch;
use tower::util::MapResponseLayer;
use trimaran_model::text::with_sources;
use trimaran_model::time::Timestamp;
use trimaran_process::clock::boot_time;

use crate::request::{JSON, Method, RequestError, send};
use crate::signs::{SILENCE, Signs};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const PROBE_TIMEOUT: Duration = Duration::from_secs(4);

pub(crate) struct Link {
    client: Client,
    hearing: Hearing,
    /// Counts the changes that any watch has shown.
    changes: watch::Sender<u64>,
    /// Held by each watch.
    watches: Arc<()>,
}

/// Held as long as something is watched by a link.
#[derive(Clone)]
pub(crate) struct Watched(#[expect(dead_code, reason = "it is counted")] Arc<()>);

/// What answers tell beside what they hold.
#[derive(Clone)]
struct Hearing {
    signs: Arc<Signs>,
    /// Since when the credentials are not accepted; 0 while they are.
    refused: Arc<AtomicU64>,
}

impl Hearing {
    /// The head of an answer came. What stands before an API server may answer for it with a 5xx.
    fn answered(&self, status: StatusCode, now: Timestamp) {
        if status == StatusCode::UNAUTHORIZED {
            self.refuse(now);
        } else if status.is_success() {
            self.refused.store(0, Ordering::Release);
        }
        if !status.is_server_error() {
            self.signs.receive(now);
        }
    }

    fn refuse(&self, now: Timestamp) {
        // It counts from the first time on.
        let _ = self.refused.compare_exchange(0, now.0, Ordering::AcqRel, Ordering::Acquire);
    }

    fn refused_since(&self) -> Option<Timestamp> {
        Some(Timestamp(self.refused.load(Ordering::Acquire))).filter(|since| since.0 != 0)
    }

    fn silent_since(&self, now: Timestamp) -> Option<Timestamp> {
        let refused = self.refused_since().filter(|since| now >= *since + SILENCE);
        self.signs.silent_since(now).or(refused)
    }
}

impl Link {
    pub(crate) fn new(mut config: Config, signs: Arc<Signs>) -> Result<Self, String> {
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        // Watches and logs are silent for long; every other request has a deadline of its own.
        config.read_timeout = None;
        config.write_timeout = None;
        // The driver decides when something is tried again.
        config.default_retry = false;
        let hearing = Hearing { signs, refused: Arc::default() };
        let listening = hearing.clone();
        // Every piece of an answer is a sign: changes that a watch shows, and its bookmarks too, which come each minute.
        let listen = MapResponseLayer::new(move |answer: Response<Box<DynBody>>| {
            listening.answered(answer.status(), boot_time());
            let (is_broken, signs) = (answer.status().is_server_error(), listening.signs.clone());
            answer.map(|body| {
                body.map_frame(move |frame| {
                    if !is_broken {
                        signs.receive(boot_time());
                    }
                    frame
                })
            })
        });
        let builder = ClientBuilder::try_from(config).map_err(|error| with_sources(&error))?;
        let client = builder.with_layer(&listen).build();
        Ok(Self { client, hearing, changes: watch::Sender::new(0), watches: Arc::default() })
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Changes with everything that any watch of this identity shows.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Changes when watches have to begin anew.
    pub(crate) fn restarts(&self) -> watch::Receiver<u64> {
        self.hearing.signs.restarts()
    }

    pub(crate) fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    pub(crate) fn watch(&self) -> Watched {
        Watched(self.watches.clone())
    }

    pub(crate) fn is_watched(&self) -> bool {
        Arc::strong_count(&self.watches) > 1
    }

    /// Since when the cluster gives no sign to this identity; `None` while it does.
    pub(crate) fn silent_since(&self, now: Timestamp) -> Option<Timestamp> {
        self.hearing.silent_since(now)
    }

    /// Whether its credentials were not accepted at last.
    pub(crate) fn is_refused(&self) -> bool {
        self.hearing.refused_since().is_some()
    }

    /// Asks for a sign; false when there is none.
    pub(crate) async fn probe(&self) -> bool {
        let asked = send(&self.client, Method::GET, "/version", JSON, Vec::new());
        match tokio::time::timeout(PROBE_TIMEOUT, asked).await {
            Ok(Err(RequestError::Credentials(_))) => {
                self.hearing.refuse(boot_time());
                false
            }
            Ok(Ok(_)) => true,
            Ok(Err(error)) => error.code().is_some_and(|code| code < 500),
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use kube::client::Body;

    use super::*;
    use crate::fake::Fake;

    fn hearing(signs: &Arc<Signs>) -> Hearing {
        Hearing { signs: signs.clone(), refused: Arc::default() }
    }

    #[tokio::test]
    async fn a_bookmark_of_a_watch_is_a_sign() {
        let server = Fake::start(|_| None).await;
        let signs = Arc::new(Signs::default());
        let config = Config::new(server.url.parse().expect("a URL"));
        let link = Link::new(config, signs.clone()).expect("a client");
        let request = Request::get("/api/v1/configmaps?watch=true").body(Body::empty()).expect("a request");
        let mut answer = link.client().send(request).await.expect("it answers").into_body();
        let began = signs.due(Timestamp(0));
        // The clock has moved.
        let moved = async {
            while signs.due(boot_time()) <= began {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), moved).await.expect("clocks go on");
        assert_eq!(signs.due(Timestamp(0)), began, "nothing came");
        server.bookmark();
        let frame = tokio::time::timeout(Duration::from_secs(20), answer.frame()).await;
        frame.expect("it comes").expect("the watch goes on").expect("it is whole");
        assert!(signs.due(Timestamp(0)) > began);
    }

    #[test]
    fn what_one_identity_hears_is_a_sign_for_all() {
        let signs = Arc::new(Signs::default());
        let (one, other) = (hearing(&signs), hearing(&signs));
        signs.begin(Timestamp(1000));
        one.answered(StatusCode::NOT_FOUND, Timestamp(20_000));
        assert_eq!(other.silent_since(Timestamp(21_000)), None);
        assert_eq!(other.silent_since(Timestamp(35_000)), Some(Timestamp(20_000)));
    }

    #[test]
    fn a_gateway_before_a_server_that_is_gone_is_no_sign_of_it() {
        let signs = Arc::new(Signs::default());
        let one = hearing(&signs);
        one.answered(StatusCode::OK, Timestamp(1000));
        one.answered(StatusCode::SERVICE_UNAVAILABLE, Timestamp(15_000));
        assert_eq!(one.silent_since(Timestamp(16_000)), Some(Timestamp(1000)));
    }

    #[test]
    fn an_identity_that_is_refused_sees_nothing_and_others_do() {
        let signs = Arc::new(Signs::default());
        let (one, other) = (hearing(&signs), hearing(&signs));
        one.answered(StatusCode::UNAUTHORIZED, Timestamp(1000));
        other.answered(StatusCode::OK, Timestamp(10_000));
        one.answered(StatusCode::UNAUTHORIZED, Timestamp(11_000));
        assert_eq!(one.silent_since(Timestamp(15_999)), None, "it may pass");
        assert_eq!(one.silent_since(Timestamp(16_000)), Some(Timestamp(1000)));
        assert_eq!(other.silent_since(Timestamp(16_000)), None);
        one.answered(StatusCode::OK, Timestamp(17_000));
        assert_eq!(one.silent_since(Timestamp(17_001)), None);
    }
}
