//! What a release does around the stop and the start of its service: part of the bytes of a release's digest, see
//! `release`.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};
use trimaran_model::pipeline::{Drain, DrainBy, Hook, HookEvent, Lifecycle, MayStop, ProbeAddress, ProbeUrl};
use trimaran_model::time::Millis;

use super::common::spelled;
use crate::codec::CodecError;

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireLifecycle {
    pub may_stop: Option<WireMayStop>,
    pub drain: Option<WireDrain>,
    pub undrain: Option<WireDrain>,
    /// By event: `before_stop`, `after_stop`, `before_start`, `after_start`, `after_healthy`.
    pub hooks: BTreeMap<String, Vec<WireHook>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireUrl {
    pub host: Option<String>,
    pub port: u16,
    pub path: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireMayStop {
    pub http: WireUrl,
    pub every_ms: u64,
    pub deadline_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireDrain {
    pub by: WireDrainBy,
    pub wait_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum WireDrainBy {
    Command(Vec<String>),
    Http(WireUrl),
    File(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireHook {
    pub command: Vec<String>,
    pub timeout_ms: u64,
}

impl From<&Lifecycle> for WireLifecycle {
    fn from(lifecycle: &Lifecycle) -> Self {
        let hook = |hook: &Hook| WireHook { command: hook.command.clone(), timeout_ms: hook.timeout.0 };
        let hooks = lifecycle
            .hooks
            .iter()
            .map(|(event, hooks)| (event.as_str().to_owned(), hooks.iter().map(hook).collect()));
        Self {
            may_stop: lifecycle.may_stop.as_ref().map(|it| WireMayStop {
                http: (&it.http).into(),
                every_ms: it.every.0,
                deadline_ms: it.deadline.0,
            }),
            drain: lifecycle.drain.as_ref().map(Into::into),
            undrain: lifecycle.undrain.as_ref().map(Into::into),
            hooks: hooks.collect(),
        }
    }
}

impl TryFrom<WireLifecycle> for Lifecycle {
    type Error = CodecError;
    fn try_from(wire: WireLifecycle) -> Result<Self, CodecError> {
        let may_stop = wire.may_stop.map(|it| {
            if it.every_ms == 0 {
                return Err(CodecError::value("a question without an interval"));
            }
            let (every, deadline) = (Millis(it.every_ms), Millis(it.deadline_ms));
            Ok(MayStop { http: it.http.into(), every, deadline })
        });
        let hooks = wire.hooks.into_iter().map(|(name, hooks)| {
            let event = HookEvent::ALL.into_iter().find(|event| event.as_str() == name);
            let event = spelled(event, "hook", &name)?;
            // Places are numbers of one byte in a host's journal.
            if hooks.is_empty() || hooks.len() > usize::from(u8::MAX) {
                return Err(CodecError::value("no hooks of an event, or very many"));
            }
            let hook =
                |it: WireHook| Ok(Hook { command: command(it.command)?, timeout: Millis(it.timeout_ms) });
            Ok((event, hooks.into_iter().map(hook).collect::<Result<_, CodecError>>()?))
        });
        Ok(Self {
            may_stop: may_stop.transpose()?,
            drain: wire.drain.map(TryInto::try_into).transpose()?,
            undrain: wire.undrain.map(TryInto::try_into).transpose()?,
            hooks: hooks.collect::<Result<_, CodecError>>()?,
        })
    }
}

fn command(words: Vec<String>) -> Result<Vec<String>, CodecError> {
    if words.is_empty() { Err(CodecError::value("an empty command")) } else { Ok(words) }
}

impl From<&Drain> for WireDrain {
    fn from(drain: &Drain) -> Self {
        let by = match &drain.by {
            DrainBy::Command(command) => WireDrainBy::Command(command.clone()),
            DrainBy::Http(url) => WireDrainBy::Http(url.into()),
            DrainBy::File(path) => WireDrainBy::File(path.clone()),
        };
        Self { by, wait_ms: drain.wait.0 }
    }
}

impl TryFrom<WireDrain> for Drain {
    type Error = CodecError;
    fn try_from(wire: WireDrain) -> Result<Self, CodecError> {
        let by = match wire.by {
            WireDrainBy::Command(words) => DrainBy::Command(command(words)?),
            WireDrainBy::Http(url) => DrainBy::Http(url.into()),
            WireDrainBy::File(path) => DrainBy::File(path),
        };
        Ok(Self { by, wait: Millis(wire.wait_ms) })
    }
}

impl From<&ProbeUrl> for WireUrl {
    fn from(url: &ProbeUrl) -> Self {
        Self { host: url.address.host.clone(), port: url.address.port, path: url.path.clone() }
    }
}

impl From<WireUrl> for ProbeUrl {
    fn from(wire: WireUrl) -> Self {
        Self { address: ProbeAddress { host: wire.host, port: wire.port }, path: wire.path }
    }
}
