//! One piece of bad evidence and the time from which it counts.

use trimaran_model::reason::ReasonCode;
use trimaran_model::time::{Millis, Wall};
use trimaran_model::verdict::Fault;

pub(super) use crate::judgment::quote;
use crate::judgment::{Evidence, Judgment, Source};
use crate::object::{Condition, Object};
use crate::snapshot::Event;

/// From when on a cause makes its object degraded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EffectiveFrom {
    At(Wall),
    /// Time alone never makes it effective; it only explains a missed deadline.
    Never,
}

impl EffectiveFrom {
    /// Definitive.
    pub(super) const IMMEDIATELY: Self = Self::At(Wall(i64::MIN));

    /// `grace` after `at`; never when it is not known when it happened.
    pub(super) fn after(at: Option<Wall>, grace: Millis) -> Self {
        at.map_or(Self::Never, |at| Self::At(at + grace))
    }

    pub(super) fn is_effective(self, now: Wall) -> bool {
        matches!(self, Self::At(at) if at <= now)
    }

    /// For ordering: the earliest first, never last.
    pub(super) fn order(self) -> i64 {
        match self {
            Self::At(at) => at.0,
            Self::Never => i64::MAX,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Cause {
    pub(super) reason: ReasonCode,
    pub(super) fault: Option<Fault>,
    pub(super) message: String,
    pub(super) evidence: Vec<Evidence>,
    pub(super) effective: EffectiveFrom,
    /// When it stops to be effective although nothing changed; `None` for what stays.
    pub(super) until: Option<Wall>,
}

impl Cause {
    /// The fault is the reason's own.
    pub(super) fn new(reason: ReasonCode, effective: EffectiveFrom, message: impl Into<String>) -> Self {
        Self {
            reason,
            fault: reason.fault(),
            message: message.into(),
            evidence: Vec::new(),
            effective,
            until: None,
        }
    }

    pub(super) fn with(mut self, evidence: Evidence) -> Self {
        self.evidence.push(evidence);
        self
    }

    pub(super) fn with_all(mut self, evidence: impl IntoIterator<Item = Evidence>) -> Self {
        self.evidence.extend(evidence);
        self
    }

    pub(super) fn blame(mut self, fault: Fault) -> Self {
        self.fault = Some(fault);
        self
    }

    pub(super) fn degraded(self) -> Judgment {
        let judgment = Judgment::degraded(self.reason, self.message);
        Judgment { fault: self.fault, evidence: self.evidence, next_check_at: self.until, ..judgment }
    }

    /// Still only a suspicion; checked again when it becomes effective.
    pub(super) fn progressing(self) -> Judgment {
        let judgment = Judgment::progressing(self.reason, self.message);
        let judgment = Judgment { evidence: self.evidence, suspected_fault: self.fault, ..judgment };
        match self.effective {
            EffectiveFrom::At(at) => judgment.recheck_at(at),
            EffectiveFrom::Never => judgment,
        }
    }

    /// Degraded once it is effective, progressing until then.
    pub(super) fn judgment(self, now: Wall) -> Judgment {
        if self.effective.is_effective(now) { self.degraded() } else { self.progressing() }
    }

    /// The most telling cause: what is certain before what may pass, the release before the platform.
    pub(super) fn rank(&self) -> u8 {
        let by_reason = match self.reason {
            ReasonCode::ImagePull => 0,
            ReasonCode::ConfigError => 1,
            ReasonCode::StartError => 2,
            ReasonCode::OomKilled => 3,
            ReasonCode::ProbeKill => 4,
            ReasonCode::CrashLoop => 5,
            ReasonCode::Mount => 6,
            ReasonCode::AdmissionDenied | ReasonCode::FailedCreate => 7,
            ReasonCode::Quota | ReasonCode::WebhookUnavailable => 8,
            ReasonCode::Unschedulable => 9,
            ReasonCode::NodeNotReady => 10,
            ReasonCode::ImagePullTransient => 11,
            _ => 12,
        };
        if self.fault == Some(Fault::Platform) { by_reason + 20 } else { by_reason }
    }
}

/// Evidence from a field.
pub(super) fn field_evidence(
    object: Object<'_>,
    path: impl Into<String>,
    value: impl ToString,
    at: Option<Wall>,
) -> Evidence {
    let value = quote(&value.to_string());
    Evidence { object: object.display(), source: Source::Field(path.into()), value, at }
}

/// Evidence from a condition in `status.conditions`.
pub(super) fn condition_evidence(object: Object<'_>, condition: &Condition<'_>) -> Evidence {
    let value = [condition.status, condition.reason].into_iter().filter(|text| !text.is_empty());
    let value = value.collect::<Vec<_>>().join(", ");
    field_evidence(object, format!("status.conditions[{}]", condition.kind), value, condition.at)
}

pub(super) fn event_evidence(object: Object<'_>, event: &Event<'_>) -> Evidence {
    Evidence {
        object: object.display(),
        source: Source::Event(event.reason.to_owned()),
        value: quote(event.message),
        at: Some(event.last),
    }
}
