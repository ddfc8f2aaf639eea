//! Jar and files on their way to one JobManager: what it has is not sent again.
//!
//! Its list of uploads has names and ids, not paths. Of what is sent the answer has the path; of what was there, the
//! directory is in its configuration. One that does not show it there gets the files again.

use std::collections::BTreeMap;

use trimaran_model::limits::FLINK_UPLOAD_PATH_BYTES_MAX;
use trimaran_model::release::Artifact;

use super::decode;
use super::message::{Body, Method, Next, Request, Response, Unusable, get};
use crate::call::Reply;
use crate::files::{FilePaths, ShippedFiles};
use crate::ledger::JarFrom;

/// The directory of uploads below the configured one.
const UPLOADS: &str = "flink-web-upload";

/// What is brought.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) name: &'a str,
    pub(super) jar: &'a Artifact,
    pub(super) files: Option<&'a ShippedFiles>,
    /// Files are sent in any case: those that were there could not be read.
    pub(super) is_fresh: bool,
}

pub(super) fn upload(wanted: &Wanted<'_>, answers: &[Response]) -> Result<Next, Unusable> {
    let Some((list, mut rest)) = answers.split_first() else { return Ok(Next::Send(get("/jars"))) };
    // Paths are those of one host, and a jar is known only where it was sent.
    if let Some(other) = rest.iter().find(|answer| answer.by != list.by) {
        let message = format!("{} went away in the middle of the uploads, and {} answers", list.by, other.by);
        return Err(Unusable::Unavailable { message });
    }
    let there = ids(list)?;
    let uploads = wanted.files.map(ShippedFiles::uploads).unwrap_or_default();
    let mut paths = BTreeMap::new();
    if !wanted.is_fresh && uploads.keys().any(|name| there.contains_key(name)) {
        let Some((config, further)) = rest.split_first() else {
            return Ok(Next::Send(get("/jobmanager/config")));
        };
        rest = further;
        if let Some(directory) = directory(config) {
            let known = uploads.keys().filter_map(|name| Some((name.clone(), there.get(name)?)));
            paths.extend(known.map(|(name, id)| (name, format!("{directory}/{UPLOADS}/{id}"))));
        }
    }
    let jar = match there.get(wanted.name) {
        Some(id) => (id.clone(), JarFrom::JobManager),
        None => match rest.split_first() {
            None => return Ok(Next::Send(jar_request(wanted.name, wanted.jar))),
            Some((answer, further)) => {
                rest = further;
                // A path on the JobManager's disk; its last part is the id. Whoever sent it may know more of its origin.
                (id_of(&path_of(answer)?), JarFrom::Store)
            }
        },
    };
    for (name, file) in uploads {
        if paths.contains_key(&name) {
            continue;
        }
        let Some((answer, further)) = rest.split_first() else {
            let shipped = wanted.files.expect("its files are uploaded").clone();
            return Ok(Next::Send(file_request(&name, file, shipped)));
        };
        rest = further;
        paths.insert(name, path_of(answer)?);
    }
    done(wanted, jar, &paths, &list.by)
}

fn done(
    wanted: &Wanted<'_>,
    (jar, from): (String, JarFrom),
    paths: &BTreeMap<String, String>,
    at: &str,
) -> Result<Next, Unusable> {
    if let Some(path) = paths.values().find(|path| path.len() > FLINK_UPLOAD_PATH_BYTES_MAX) {
        let message = format!(
            "the JobManager puts uploads at a path of {} bytes, and {FLINK_UPLOAD_PATH_BYTES_MAX} are taken; shorten its \
             `web.upload.dir`",
            path.len()
        );
        return Err(Unusable::Unavailable { message });
    }
    let paths = |shipped: &ShippedFiles| shipped.paths(paths).expect("each of them was there or was sent");
    let files = wanted.files.map_or_else(FilePaths::new, paths);
    Ok(Next::Done(Reply::Uploaded { jar, from, files, at: at.to_owned() }))
}

/// Ids of uploads by their names.
fn ids(list: &Response) -> Result<BTreeMap<String, String>, Unusable> {
    let list: decode::Jars = list.read()?;
    // Of several of one name the first one is the newest.
    Ok(list.files.into_iter().rev().map(|file| (file.name, file.id)).collect())
}

/// Below which uploads lie; `None`: the JobManager does not show it.
fn directory(config: &Response) -> Option<String> {
    let config: Vec<decode::Setting> = config.read().ok()?;
    let value = |key: &str| config.iter().find(|it| it.key == key).map(|it| it.value.clone());
    let directory = value("web.upload.dir").or_else(|| value("web.tmpdir"))?;
    directory.starts_with('/').then(|| directory.trim_end_matches('/').to_owned())
}

fn path_of(answer: &Response) -> Result<String, Unusable> {
    Ok(answer.read::<decode::Uploaded>()?.filename)
}

fn id_of(path: &str) -> String {
    path.rsplit('/').next().unwrap_or_default().to_owned()
}

fn post(body: Body) -> Request {
    Request { method: Method::Post, path: "/jars/upload".to_owned(), body }
}

pub(super) fn jar_request(name: &str, jar: &Artifact) -> Request {
    post(Body::Jar { name: name.to_owned(), jar: jar.clone() })
}

pub(super) fn file_request(name: &str, file: &str, shipped: ShippedFiles) -> Request {
    post(Body::File { name: name.to_owned(), file: file.to_owned(), shipped })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use trimaran_model::id::Digest;
    use trimaran_model::release::{ArtifactLocation, Content, FlinkFiles};
    use trimaran_model::time::WallTime;

    use super::*;

    fn jar() -> Artifact {
        Artifact {
            name: "job".parse().expect("a name"),
            version: "v1".to_owned(),
            sha256: Digest([1; 32]),
            location: ArtifactLocation::Path("/srv/v1.jar".to_owned()),
        }
    }

    fn shipped() -> ShippedFiles {
        let files = [("a", 2), ("b", 3), ("same", 2)];
        let content = |n| Content { digest: Digest([n; 32]), bytes: 1 };
        let files = files.map(|(name, n)| (name.to_owned(), content(n)));
        let files = FlinkFiles::new(Digest([9; 32]), files.into()).expect("small files");
        ShippedFiles { pipeline: "clicks".to_owned(), release: Digest([7; 32]), files }
    }

    fn name(n: u8) -> String {
        crate::files::jar_name("clicks", Digest([n; 32]))
    }

    fn answer(by: &str, body: &Value) -> Response {
        Response { at: WallTime(0), by: by.to_owned(), status: 200, body: body.to_string() }
    }

    fn sent(n: u8) -> Response {
        answer("one", &json!({ "filename": format!("/up/x_{}", name(n)), "status": "success" }))
    }

    fn list(names: &[u8]) -> Response {
        let files: Vec<Value> =
            names.iter().map(|n| json!({ "id": format!("y_{}", name(*n)), "name": name(*n) })).collect();
        answer("one", &json!({ "files": files }))
    }

    /// What is asked or sent in this order, and the reply.
    fn played(is_fresh: bool, answers: &[Response]) -> (Vec<String>, Result<Reply, Unusable>) {
        let (jar, files, jar_name) = (jar(), shipped(), name(1));
        let wanted = Wanted { name: &jar_name, jar: &jar, files: Some(&files), is_fresh };
        let mut asked = Vec::new();
        for count in 0..=answers.len() {
            match upload(&wanted, &answers[..count]) {
                Ok(Next::Send(request)) => asked.push(match request.body {
                    Body::Jar { name, .. } => format!("jar {name}"),
                    Body::File { name, file, .. } => format!("{file} as {name}"),
                    Body::None | Body::Json(_) => request.path,
                }),
                Ok(Next::Done(reply)) => return (asked, Ok(reply)),
                Err(error) => return (asked, Err(error)),
            }
        }
        panic!("more is asked: {asked:?}")
    }

    fn files_at(reply: Result<Reply, Unusable>) -> (String, JarFrom, [String; 3]) {
        match reply {
            Ok(Reply::Uploaded { jar, from, files, at }) => {
                assert_eq!((at.as_str(), files.len()), ("one", 3));
                (jar, from, ["a", "b", "same"].map(|name| files[name].clone()))
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_not_there_is_sent_once_for_the_same_bytes() {
        let (asked, reply) = played(false, &[list(&[]), sent(1), sent(2), sent(3)]);
        // Of two names of the same bytes either may be sent.
        let file = |n: u8, file: &str| format!("{file} as {}", name(n));
        let wanted = ["/jars".to_owned(), format!("jar {}", name(1)), file(2, "same"), file(3, "b")];
        assert_eq!(asked, wanted);
        let path = |n| format!("/up/x_{}", name(n));
        assert_eq!(files_at(reply), (format!("x_{}", name(1)), JarFrom::Store, [path(2), path(3), path(2)]));
    }

    #[test]
    fn what_is_there_is_found_by_the_configuration_and_not_sent() {
        let config =
            |key: &str| answer("one", &json!([{ "key": key, "value": "/up/" }, { "key": "x", "value": "" }]));
        for key in ["web.upload.dir", "web.tmpdir"] {
            let (asked, reply) = played(false, &[list(&[1, 2, 3]), config(key)]);
            assert_eq!(asked, ["/jars", "/jobmanager/config"]);
            let path = |n| format!("/up/flink-web-upload/y_{}", name(n));
            let wanted = (format!("y_{}", name(1)), JarFrom::JobManager, [path(2), path(3), path(2)]);
            assert_eq!(files_at(reply), wanted);
        }
        // Some of it is there.
        let (asked, reply) = played(false, &[list(&[2]), config("web.tmpdir"), sent(1), sent(3)]);
        assert_eq!(asked.len(), 4);
        assert!(files_at(reply).2[0].starts_with("/up/flink-web-upload/y_"));
        // Where the directory is not known, and where what was there can't be read.
        let (asked, reply) = played(false, &[list(&[1, 2, 3]), config("other"), sent(2), sent(3)]);
        assert_eq!((asked.len(), files_at(reply).2[1].clone()), (4, format!("/up/x_{}", name(3))));
        let (asked, _) = played(true, &[list(&[1, 2, 3]), sent(2), sent(3)]);
        assert_eq!(asked.len(), 3);
    }

    #[test]
    fn uploads_are_at_one_jobmanager_and_at_a_path_that_fits() {
        let other = Response { by: "two".to_owned(), ..sent(1) };
        let (_, reply) = played(false, &[list(&[]), other]);
        let Err(Unusable::Unavailable { message }) = &reply else { panic!("{reply:?}") };
        assert!(message.contains("one went away") && message.contains("two answers"), "{message}");
        let long = json!({ "filename": format!("/{}/x.jar", "u".repeat(FLINK_UPLOAD_PATH_BYTES_MAX)) });
        let (_, reply) = played(false, &[list(&[1]), answer("one", &long), sent(3)]);
        let Err(Unusable::Unavailable { message }) = &reply else { panic!("{reply:?}") };
        assert!(message.contains("web.upload.dir"), "{message}");
    }
}
