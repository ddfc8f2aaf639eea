//! Requests to the REST API and its answers as data, and what an answer says that is not the one that was asked for.

use trimaran_model::release::Artifact;
use trimaran_model::time::WallTime;

use super::cause;
use crate::call::{Refusal, Reply};
use crate::files::ShippedFiles;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
    Patch,
}

impl Method {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Patch => "PATCH",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub method: Method,
    /// With its query, from the root of the API.
    pub path: String,
    pub body: Body,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    None,
    Json(String),
    /// A form with one file `jarfile`.
    Jar {
        name: String,
        jar: Artifact,
    },
    /// The same with a file that is no jar: one of those that a release ships.
    File {
        name: String,
        file: String,
        shipped: ShippedFiles,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// By the clock of whoever received it.
    pub at: WallTime,
    /// Which JobManager answered, however it is named.
    pub by: String,
    pub status: u16,
    pub body: String,
}

impl Response {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub(super) fn read<T: serde::de::DeserializeOwned>(&self) -> Result<T, Unusable> {
        if !self.is_success() {
            return Err(unavailable(self));
        }
        serde_json::from_str(&self.body).map_err(|error| Unusable::Unavailable {
            message: format!("an answer of the JobManager can't be read: {error}"),
        })
    }
}

/// What is to be done next for a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    Send(Request),
    Done(Reply),
}

/// An answer that is not what was asked for.
#[derive(Debug)]
pub(super) enum Unusable {
    Unavailable { message: String },
    Refused(Refusal),
}

impl From<Unusable> for Reply {
    fn from(unusable: Unusable) -> Self {
        match unusable {
            Unusable::Unavailable { message } => Self::Unavailable { message },
            Unusable::Refused(refusal) => Self::Refused(refusal),
        }
    }
}

pub(super) fn get(path: impl Into<String>) -> Request {
    Request { method: Method::Get, path: path.into(), body: Body::None }
}

pub(super) fn post(path: String, body: &serde_json::Value) -> Request {
    Request { method: Method::Post, path, body: Body::Json(body.to_string()) }
}

pub(super) fn unavailable(answer: &Response) -> Unusable {
    Unusable::Unavailable { message: format!("{} ({})", cause::of_error(&answer.body), answer.status) }
}

/// Whether an answer says that the job is not known: 404, or 500 from what does not look it up first.
pub(super) fn is_unknown_job(answer: &Response) -> bool {
    let names = |text: &str| answer.body.contains(text);
    match answer.status {
        404 => true,
        500 => names("FlinkJobNotFoundException") || names("NullPointerException"),
        _ => false,
    }
}
