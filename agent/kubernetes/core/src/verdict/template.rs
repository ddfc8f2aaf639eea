//! Whether a revision was made from the pod template that its workload has now.
//!
//! Controllers number revisions, and for a moment after a change the number still names the revision before: a Deployment
//! that is scaled and changed at once, or that gets an earlier template back, has its status observed first. Whatever the
//! pods of that revision show is no evidence of the change. Controllers find the revision of a template by comparing
//! templates, and so is it done here.

use serde_json::{Map, Value};

use crate::object::{Object, list_of};

/// What a controller adds to the template of a revision.
const ADDED: [&str; 2] = ["pod-template-hash", "$patch"];
/// Fields that an API server fills in: a template that has all of them is complete.
const DEFAULTS: [&str; 3] = ["restartPolicy", "dnsPolicy", "schedulerName"];

/// Whether a revision (a ReplicaSet, or a ControllerRevision) was certainly made from another template than the one that
/// its workload has now. Templates that an API server completed are compared as a whole. Others may lack fields on one
/// side: only containers with another image tell them apart then.
pub(super) fn is_of_another(workload: Object<'_>, revision: Object<'_>) -> bool {
    let of_revision = revision.at("spec.template").or_else(|| revision.at("data.spec.template"));
    match (workload.at("spec.template"), of_revision) {
        (Some(wanted), Some(made)) if is_complete(wanted) && is_complete(made) => !is_same(wanted, made),
        (Some(wanted), Some(made)) => has_another_image(wanted, made),
        (None, _) | (_, None) => false,
    }
}

fn is_complete(template: &Value) -> bool {
    DEFAULTS.iter().all(|field| template.get("spec").and_then(|spec| spec.get(field)).is_some())
}

fn is_same(wanted: &Value, made: &Value) -> bool {
    match (wanted, made) {
        (Value::Object(wanted), Value::Object(made)) => has_all(wanted, made) && has_all(made, wanted),
        (Value::Array(wanted), Value::Array(made)) => {
            wanted.len() == made.len() && wanted.iter().zip(made).all(|(wanted, made)| is_same(wanted, made))
        }
        _ => wanted == made,
    }
}

/// Whether every field of `these` is the same in `those`. What is empty may be left out.
fn has_all(these: &Map<String, Value>, those: &Map<String, Value>) -> bool {
    let fields = these.iter().filter(|(name, value)| !ADDED.contains(&name.as_str()) && !is_empty(value));
    fields.into_iter().all(|(name, value)| those.get(name).is_some_and(|other| is_same(value, other)))
}

/// A map with nothing but what controllers add is empty, too.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => {
            fields.iter().all(|(name, value)| ADDED.contains(&name.as_str()) || is_empty(value))
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn has_another_image(wanted: &Value, made: &Value) -> bool {
    ["containers", "initContainers"].into_iter().any(|list| {
        let made = images(made, list);
        let differs = |(name, image): &(&str, &str)| {
            made.iter().any(|(other, theirs)| other == name && theirs != image)
        };
        images(wanted, list).iter().any(differs)
    })
}

/// Names and images of the containers that have both.
fn images<'a>(template: &'a Value, list: &str) -> Vec<(&'a str, &'a str)> {
    let containers = list_of(template.get("spec").and_then(|spec| spec.get(list))).iter();
    let named =
        |container: &'a Value| Some((container.get("name")?.as_str()?, container.get("image")?.as_str()?));
    containers.filter_map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn complete(image: &str) -> Value {
        json!({
            "metadata": {"creationTimestamp": null, "labels": {"app": "web"}},
            "spec": {
                "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler",
                "containers": [{"name": "web", "image": image, "resources": {}, "args": ["--port", "8080"]}],
            },
        })
    }

    fn is_other(wanted: &Value, made: &Value) -> bool {
        let workload = json!({"spec": {"template": wanted}});
        let revision = json!({"spec": {"template": made}});
        let stored = json!({"data": {"spec": {"template": made}}});
        let found = is_of_another(Object::new(&workload), Object::new(&revision));
        assert_eq!(found, is_of_another(Object::new(&workload), Object::new(&stored)), "{made}");
        found
    }

    #[test]
    fn what_a_controller_adds_and_what_is_empty_makes_no_other_template() {
        let mut made = complete("web:1");
        made["metadata"]["labels"]["pod-template-hash"] = json!("5d8f");
        made["$patch"] = json!("replace");
        made["spec"]["securityContext"] = json!({});
        made["spec"]["containers"][0]["resources"] = json!(null);
        assert!(!is_other(&complete("web:1"), &made));
    }

    #[test]
    fn any_field_makes_another_template_where_both_are_complete() {
        let wanted = complete("web:1");
        assert!(is_other(&wanted, &complete("web:2")));
        let mut restarted = wanted.clone();
        restarted["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/restartedAt": "now"});
        assert!(is_other(&wanted, &restarted) && is_other(&restarted, &wanted));
        let mut arguments = wanted.clone();
        arguments["spec"]["containers"][0]["args"] = json!(["--port"]);
        assert!(is_other(&wanted, &arguments));
    }

    #[test]
    fn a_template_that_was_written_short_differs_by_its_images_alone() {
        let short = |image: &str| json!({"spec": {"containers": [{"name": "web", "image": image}]}});
        assert!(!is_other(&complete("web:1"), &short("web:1")));
        assert!(is_other(&complete("web:2"), &short("web:1")) && is_other(&short("web:2"), &short("web:1")));
        let nameless = json!({"spec": {"containers": [{"image": "web:1"}]}});
        assert!(!is_other(&complete("web:2"), &nameless), "no container is known to be the same");
        assert!(!is_other(&complete("web:2"), &json!(null)), "nothing is known of it");
    }
}
