//! Pod specs whose parts don't fit each other: mounts without volume.

use serde_json::Value;
use trimaran_model::error_code;

use super::set::{Set, containers, list, pod_specs};
use crate::finding::{Finding, shown};
use crate::identity::text;

pub(super) fn check(set: &Set<'_>, found: &mut Vec<Finding>) {
    for (index, pointer, spec) in pod_specs(set) {
        let claims = set.objects[index].pointer("/spec/volumeClaimTemplates").and_then(Value::as_array);
        let mut volumes: Vec<&str> =
            list(spec, "volumes").iter().filter_map(|it| text(it, "/name")).collect();
        volumes.extend(claims.into_iter().flatten().filter_map(|it| text(it, "/metadata/name")));
        for (pointer, container) in containers(spec, &pointer) {
            for (at, mount) in list(container, "volumeMounts").iter().enumerate() {
                let Some(name) = text(mount, "/name").filter(|it| !volumes.contains(it)) else { continue };
                let message = format!("the pod has no volume `{}`", shown(name));
                let place = format!("{pointer}/volumeMounts/{at}/name");
                found.push(Finding::error(index, place, error_code::VOLUME_MISSING, message));
            }
        }
    }
}
