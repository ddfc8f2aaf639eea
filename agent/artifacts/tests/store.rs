//! The store with coordinators that follow a script.
#![allow(clippy::disallowed_methods, reason = "files and their times are what is tested")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, watch};
use trimaran_artifacts::{Artifacts, AskError, Coordinators, FetchError, Needed};
use trimaran_model::id::Digest;
use trimaran_model::limits::{ARTIFACTS_GRACE, CONTENT_PART_BYTES};
use trimaran_model::pipeline::OnConflict;
use trimaran_model::release::{Content, KubernetesRelease, Release, ReleaseWorkload};
use trimaran_model::time::Millis;
use trimaran_wire::codec::encode;
use trimaran_wire::v1::agent::{ContentPiece, ContentQuery};
use trimaran_wire::v1::release::WireRelease;

/// What the coordinators have.
#[derive(Clone, Default)]
struct Model(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Releases with what they name.
    releases: BTreeMap<Digest, (Vec<u8>, Vec<u8>)>,
    /// After so many parts the session of an answer breaks off; once each.
    breaks: Vec<usize>,
    asked: Vec<ContentQuery>,
}

impl Model {
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().expect("nothing panics under it"))
    }

    /// A release that names these bytes.
    fn add(&self, version: &str, bytes: Vec<u8>) -> (Digest, Content) {
        let content = Content { digest: digest(&bytes), bytes: bytes.len() as u64 };
        let release = Release {
            pipeline: "shop".parse().expect("a name"),
            target: "tokyo".parse().expect("a name"),
            version: version.to_owned(),
            workload: ReleaseWorkload::Kubernetes(KubernetesRelease {
                objects: content,
                manifests: None,
                images: BTreeMap::new(),
                stability: Millis(0),
                on_conflict: OnConflict::Refuse,
            }),
        };
        let wire = WireRelease::from(&release);
        self.with(|state| state.releases.insert(wire.digest(), (encode(&wire), bytes)));
        (wire.digest(), content)
    }

    fn asked(&self) -> usize {
        self.with(|state| state.asked.len())
    }
}

impl Coordinators for Model {
    fn ask(
        &self,
        query: ContentQuery,
        parts: mpsc::Sender<Vec<u8>>,
    ) -> BoxFuture<'static, Result<(), AskError>> {
        let (found, breaks) = self.with(|state| {
            state.asked.push(query);
            let breaks = (!state.breaks.is_empty()).then(|| state.breaks.remove(0));
            (state.releases.get(&Digest(query.release)).cloned(), breaks)
        });
        async move {
            let Some((release, content)) = found else {
                return Err(AskError::Refused("no such release".to_owned()));
            };
            let (bytes, from) = match query.what {
                ContentPiece::Release => (release, 0),
                ContentPiece::Content { from } => (content, from as usize),
            };
            for (count, part) in bytes.chunks(CONTENT_PART_BYTES).skip(from).enumerate() {
                if breaks == Some(count) {
                    return Err(AskError::Unreachable("the session broke off".to_owned()));
                }
                parts.send(part.to_vec()).await.expect("the store reads");
            }
            Ok(())
        }
        .boxed()
    }
}

fn digest(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

fn large(seed: usize) -> Vec<u8> {
    (0..3 * CONTENT_PART_BYTES + seed)
        .map(|it| u8::try_from((it * it + seed) % 251).expect("small"))
        .collect()
}

fn files(folder: &Path) -> BTreeSet<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return BTreeSet::new() };
    entries.map(|it| it.expect("readable").file_name().to_string_lossy().into_owned()).collect()
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_continued_from_the_part_that_is_missing() {
    let (folder, model) = (tempfile::tempdir().expect("a folder"), Model::default());
    let store = Artifacts::new(folder.path().join("artifacts"), model.clone());
    let (release, content) = model.add("v1", large(7));
    model.with(|state| state.breaks = vec![2, 0, 1]);
    assert!(store.content(release, &content).await.expect("it comes") == large(7));
    let from: Vec<ContentPiece> = model.with(|state| state.asked.iter().map(|it| it.what).collect());
    let content_from = |from| ContentPiece::Content { from };
    assert_eq!(from, [0, 2, 2, 3].map(content_from));
    assert!(store.content(release, &content).await.expect("it is here") == large(7));
    assert_eq!(store.release(release).await.expect("it comes").version, "v1");
    store.release(release).await.expect("it is here");
    assert_eq!(model.asked(), 5, "what is here is not asked for");
}

#[tokio::test]
async fn bytes_with_another_digest_never_get_the_name() {
    let (folder, model) = (tempfile::tempdir().expect("a folder"), Model::default());
    let directory = folder.path().join("artifacts");
    let store = Artifacts::new(directory.clone(), model.clone());
    let (release, content) = model.add("v1", large(1));
    model.with(|state| {
        state.releases.get_mut(&release).expect("known").1 = large(2)[..large(1).len()].to_vec()
    });
    let refused = store.content(release, &content).await.expect_err("another digest");
    assert!(matches!(refused, FetchError::Digest { .. }), "{refused}");
    model.with(|state| state.releases.get_mut(&release).expect("known").1 = large(300));
    let refused = store.content(release, &content).await.expect_err("too many bytes");
    assert!(matches!(refused, FetchError::TooLarge { .. }), "{refused}");
    assert_eq!(files(&directory), BTreeSet::new(), "nothing is left");
    let unknown = store.release(Digest([9; 32])).await.expect_err("not known");
    assert!(matches!(unknown, FetchError::Missing { .. }), "{unknown}");
    // A file that was spoiled is fetched again.
    model.with(|state| state.releases.get_mut(&release).expect("known").1 = large(1));
    store.content(release, &content).await.expect("it comes");
    std::fs::write(directory.join(content.digest.to_string()), b"spoiled").expect("written");
    assert!(store.content(release, &content).await.expect("it comes again") == large(1));
}

/// What a goal and a rollback need is here, comes again after the loss of the directory, and nothing else is kept.
#[tokio::test]
async fn what_is_needed_is_kept_and_nothing_else() {
    let (folder, model) = (tempfile::tempdir().expect("a folder"), Model::default());
    let directory = folder.path().join("artifacts");
    let store = Artifacts::new(directory.clone(), model.clone());
    let (old, old_content) = model.add("v1", large(1));
    let (new, new_content) = model.add("v2", large(2));
    let (needed, releases) = watch::channel(Needed::from([old, new]));
    let keeping = tokio::spawn(store.keep(releases));
    let names = |digests: &[Digest]| digests.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    let all = names(&[old, old_content.digest, new, new_content.digest]);
    until(|| files(&directory) == all).await;
    // The directory is lost: with the next change, or the next day, it is whole again.
    std::fs::remove_dir_all(&directory).expect("removed");
    needed.send_replace(Needed::from([new, old]));
    until(|| files(&directory) == all).await;
    // What was fetched just now stays: another order may need it.
    needed.send_replace(Needed::from([new]));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(files(&directory), all);
    let before = SystemTime::now() - ARTIFACTS_GRACE.to_std() - Duration::from_secs(1);
    for name in &all {
        let file = std::fs::File::options().write(true).open(directory.join(name)).expect("a file");
        file.set_modified(before).expect("a time");
    }
    std::fs::write(directory.join("a-users-own"), b"kept").expect("written");
    needed.send_replace(Needed::from([new]));
    let mut left = names(&[new, new_content.digest]);
    left.insert("a-users-own".to_owned());
    until(|| files(&directory) == left).await;
    // While something can't be had nothing is removed.
    needed.send_replace(Needed::from([Digest([9; 32])]));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(files(&directory), left);
    keeping.abort();
}

async fn until(holds: impl Fn() -> bool) {
    let work = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), work).await.expect("it holds at last");
}
