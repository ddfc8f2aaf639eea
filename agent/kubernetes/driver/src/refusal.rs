//! What an API server means by a status that is no success.
//!
//! The code alone does not say it: 422 may be a wrong field, another object of the same name, or the no of a policy; 500
//! may be a field that does not exist; 403 may be a right, a quota, a policy or a namespace that ends. What is recorded
//! in `refusal/statuses.json` was answered by Kubernetes 1.34.

use serde_json::Value;

use crate::platform::{FieldOwner, Refusal};

impl Refusal {
    /// Reads the status code and body of an answer; a body that is no `Status` is its text.
    pub fn of_status(code: u16, body: &str) -> Self {
        let status: Value = serde_json::from_str(body).unwrap_or(Value::Null);
        let message = match status.get("message").and_then(Value::as_str) {
            Some(message) => message.to_owned(),
            None if body.trim().is_empty() => format!("the API server answers with status {code}"),
            None => body.trim().to_owned(),
        };
        let says = |text: &str| message.contains(text);
        if says("failed calling webhook") {
            return Self::WebhookUnavailable { message };
        }
        if says("denied the request") || says("denied request:") || says("violates PodSecurity") {
            return Self::Denied { message };
        }
        match code {
            409 => Self::of_conflict(&status, message),
            410 => Self::Moved,
            // The uid belongs to an object of the same name that is gone.
            422 if causes(&status).any(|cause| cause["field"] == "metadata.uid") => Self::Moved,
            400 | 405 | 413 | 415 | 422 => Self::Invalid { message },
            // Server-side apply answers so to fields that the schema does not have.
            500 if says("failed to create typed patch object") => Self::Invalid { message },
            403 if says("exceeded quota") => Self::Quota { message },
            403 if causes(&status).any(|cause| cause["reason"] == "NamespaceTerminating") => {
                Self::NamespaceEnding { message }
            }
            401 | 403 => Self::Forbidden { message },
            404 if status.pointer("/details/kind").and_then(Value::as_str) == Some("namespaces") => {
                Self::NoNamespace { message }
            }
            404 if status.pointer("/details/name").is_some() => Self::Moved,
            404 => Self::NotServed { message },
            _ => Self::Unavailable { message },
        }
    }

    fn of_conflict(status: &Value, message: String) -> Self {
        let fields: Vec<FieldOwner> = causes(status)
            .filter(|cause| cause["reason"] == "FieldManagerConflict")
            .map(|cause| FieldOwner {
                // conflict with "kubectl-client-side-apply" using apps/v1
                manager: cause["message"]
                    .as_str()
                    .and_then(|it| it.split('"').nth(1))
                    .unwrap_or("")
                    .to_owned(),
                field: cause["field"].as_str().unwrap_or("").to_owned(),
            })
            .collect();
        if fields.is_empty() { Self::Moved } else { Self::FieldConflict { fields, message } }
    }
}

fn causes(status: &Value) -> impl Iterator<Item = &Value> {
    status.pointer("/details/causes").and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One recorded answer.
    fn refusal(name: &str) -> Refusal {
        let recorded: Value =
            serde_json::from_str(include_str!("refusal/statuses.json")).expect("it is JSON");
        let status = recorded.get(name).unwrap_or_else(|| panic!("no status is called {name}"));
        let code = status["code"].as_u64().and_then(|code| u16::try_from(code).ok()).expect("it has a code");
        let body = status["text"].as_str().map_or_else(|| status.to_string(), str::to_owned);
        Refusal::of_status(code, &body)
    }

    #[test]
    fn another_version_or_another_object_of_the_name_is_looked_at_again() {
        for name in ["other_version", "other_uid", "uid_of_nothing", "not_found"] {
            assert_eq!(refusal(name), Refusal::Moved, "{name}");
        }
    }

    #[test]
    fn fields_of_others_are_named_with_their_managers() {
        let Refusal::FieldConflict { fields, message } = refusal("field_conflict") else {
            panic!("it is one")
        };
        let owner = FieldOwner {
            manager: "kubectl".to_owned(),
            field: ".spec.template.spec.containers[name=\"web\"].image".to_owned(),
        };
        assert_eq!(fields, [owner]);
        assert!(message.starts_with("Apply failed with 1 conflict"));
    }

    #[test]
    fn what_stays_wrong_is_distinguished_from_what_will_pass() {
        for name in ["immutable", "unknown_field", "wrong_type"] {
            assert!(matches!(refusal(name), Refusal::Invalid { .. }), "{name}: {:?}", refusal(name));
        }
        for name in ["policy", "pod_security"] {
            assert!(matches!(refusal(name), Refusal::Denied { .. }), "{name}: {:?}", refusal(name));
        }
        for name in ["forbidden", "unauthorized"] {
            assert!(matches!(refusal(name), Refusal::Forbidden { .. }), "{name}: {:?}", refusal(name));
        }
        assert!(matches!(refusal("quota"), Refusal::Quota { .. }));
        assert!(matches!(refusal("webhook"), Refusal::WebhookUnavailable { .. }));
        assert!(matches!(refusal("namespace_ends"), Refusal::NamespaceEnding { .. }));
        assert!(matches!(refusal("no_namespace"), Refusal::NoNamespace { .. }));
        assert!(matches!(refusal("not_served"), Refusal::NotServed { .. }));
        for code in [408, 429, 500, 502, 503, 504] {
            let refusal = Refusal::of_status(code, "");
            let message = format!("the API server answers with status {code}");
            assert_eq!(refusal, Refusal::Unavailable { message });
        }
    }
}
