//! Fields and types against the schema of Kubernetes: server-side apply refuses a field that it does not know and a
//! value of another type, whatever the client.
//!
//! Kinds that Kubernetes itself does not have pass, and so does `status`, which an apply does not write. Required fields
//! and the words of a field are the schema's; bounds of numbers and forms of names that no schema shows are in
//! [`bounds`]. What depends on several fields is a rule of its own beside this one, or left to the server.

mod bounds;
mod document;
mod relations;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use trimaran_model::error_code;

use self::document::{Document, Fields, Form, Keys, kind_of};
use self::relations::Typed;
use super::quantity::{is_quantity, whole};
use super::set::Set;
use super::texts::{not_text, null_value};
use super::unrendered::is_template;
use crate::finding::{Finding, Severity, pointer_part, shown};
use crate::identity::text;

/// Runs after the other rules: a place that has an error already gets no second one.
pub(super) fn check(set: &Set<'_>, found: &mut Vec<Finding>) {
    let errors = found.iter().filter(|it| it.severity == Severity::Error);
    let known: BTreeSet<(usize, String)> = errors.map(|it| (it.object, it.pointer.clone())).collect();
    let mut new = Vec::new();
    for (index, object) in set.objects.iter().enumerate() {
        let Some(name) = type_of(object) else { continue };
        Walk { document: Document::get(), index, open: Vec::new(), found: &mut new }.object(object, name);
    }
    found.extend(new.into_iter().filter(|it| !known.contains(&(it.object, it.pointer.clone()))));
}

/// Whether Kubernetes itself has the kind of an object.
pub(super) fn is_known(object: &Value) -> bool {
    type_of(object).is_some()
}

fn type_of(object: &Value) -> Option<&'static str> {
    Document::get().type_of(text(object, "/apiVersion")?, text(object, "/kind")?)
}

/// A value that is to be checked.
struct Open<'a> {
    value: &'a Value,
    form: &'a Form,
    pointer: String,
    /// The types above, from the top: a field may be one of theirs.
    above: Vec<&'static str>,
    /// The keys of the list that it is an item of: that it has them was checked with the list.
    keys: &'a Keys,
}

struct Walk<'a, 'f> {
    document: &'static Document,
    index: usize,
    open: Vec<Open<'a>>,
    found: &'f mut Vec<Finding>,
}

impl<'a> Walk<'a, '_> {
    fn object(mut self, object: &'a Value, name: &'static str) {
        let Value::Object(map) = object else { return };
        self.fields(map, name, "", &[], &Keys::None);
        self.open.retain(|it| it.pointer != "/status");
        while let Some(open) = self.open.pop() {
            self.value(open);
        }
    }

    fn value(&mut self, open: Open<'a>) {
        let Open { value, form, pointer, above, keys } = open;
        match (form, value) {
            // A null is a field that is not there.
            (_, Value::Null) | (Form::Any, _) => {}
            (Form::Fields(name), Value::Object(map)) => self.fields(map, name, &pointer, &above, keys),
            (Form::List { item, keys }, Value::Array(items)) => {
                self.twice(keys, items, &pointer);
                for (at, value) in items.iter().enumerate() {
                    let pointer = format!("{pointer}/{at}");
                    self.item(keys, value, &pointer);
                    self.open.push(Open { value, form: item, pointer, above: above.clone(), keys });
                }
            }
            (Form::Map(form), Value::Object(map)) => {
                for (key, value) in map {
                    let pointer = format!("{pointer}/{}", pointer_part(key));
                    if value.is_null() {
                        null_value(self.index, &pointer, key, self.found);
                    }
                    self.open.push(Open { value, form, pointer, above: above.clone(), keys: &Keys::None });
                }
            }
            (
                Form::Text | Form::Word(_),
                Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_),
            ) => {
                not_text(self.index, &pointer, value, self.found);
            }
            (form, Value::String(text)) if is_template(text) && !matches!(form, Form::Text) => {}
            (Form::Word(words), Value::String(text)) => self.word(&pointer, text, words),
            _ => {
                if let Some((wanted, help)) = mismatch(form, value) {
                    self.wrong_type(&pointer, value, wanted, help);
                }
            }
        }
    }

    fn fields(
        &mut self,
        map: &'a Map<String, Value>,
        name: &'static str,
        pointer: &str,
        above: &[&'static str],
        keys: &Keys,
    ) {
        let Some(fields) = self.document.fields(name) else { return };
        let mut above = above.to_vec();
        above.push(name);
        self.required(map, name, pointer, &above, keys);
        self.relations(map, name, pointer, &above);
        for (key, value) in map {
            let pointer = format!("{pointer}/{}", pointer_part(key));
            match fields.get(key.as_str()) {
                Some(form) => {
                    if let Some(fault) = bounds::fault(name, key, value) {
                        let finding = Finding::error(
                            self.index,
                            &pointer,
                            error_code::OBJECT_FIELD_VALUE,
                            fault.message,
                        );
                        self.found.push(finding.help(fault.help));
                    }
                    self.open.push(Open { value, form, pointer, above: above.clone(), keys: &Keys::None });
                }
                None if is_template(key) => {}
                None => {
                    let message = format!("{} has no field `{}`", kind_of(name), shown(key));
                    let help = self.help_for(key, fields, &above);
                    let finding =
                        Finding::error(self.index, pointer, error_code::OBJECT_FIELD_UNKNOWN, message);
                    self.found.push(finding.help(help));
                }
            }
        }
    }

    /// The fields without which a server refuses the object. One that stands there under a name like it has a finding.
    fn required(
        &mut self,
        map: &Map<String, Value>,
        name: &'static str,
        pointer: &str,
        above: &[&'static str],
        keys: &Keys,
    ) {
        if is_claim_of_stateful_set(name, above) {
            return;
        }
        let fields = self.document.fields(name);
        let unknown: Vec<&String> = map
            .keys()
            .filter(|key| fields.is_some_and(|fields| !fields.contains_key(key.as_str())))
            .collect();
        for field in self.document.required(name) {
            let is_key = matches!(keys, Keys::Fields(keys) if keys.iter().any(|(key, _)| key == field));
            let is_there = map.get(*field).is_some_and(|value| !value.is_null());
            let is_misspelt =
                unknown.iter().any(|key| nearest(key, [*field].iter()).is_some() || is_template(key));
            if is_there || is_key || is_misspelt {
                continue;
            }
            let message = format!("{} has no `{field}`", kind_of(name));
            let place = format!("{pointer}/{field}");
            let finding = Finding::error(self.index, place, error_code::OBJECT_FIELD_MISSING, message);
            self.found.push(finding.help(format!("write `{field}`")));
        }
    }

    /// What the fields have to be together.
    fn relations(
        &mut self,
        map: &Map<String, Value>,
        name: &'static str,
        pointer: &str,
        above: &[&'static str],
    ) {
        let Some(fields) = self.document.fields(name).filter(|_| !is_claim_of_stateful_set(name, above))
        else {
            return;
        };
        let required = self.document.required(name);
        for fault in relations::faults(Typed { map, name, fields, required, above }) {
            let place = format!("{pointer}{}", fault.place);
            let finding = Finding::error(self.index, place, fault.code, fault.message);
            self.found.push(finding.help(fault.help));
        }
    }

    /// A text that has to be one of some words. An empty one is as good as none: it gets the default.
    fn word(&mut self, pointer: &str, text: &str, words: &[&'static str]) {
        if text.is_empty() || words.iter().any(|word| word.replace("%20", " ") == text) {
            return;
        }
        let words: Vec<&'static str> = words.iter().copied().filter(|word| !word.is_empty()).collect();
        let shown_words: Vec<String> =
            words.iter().map(|word| format!("`{}`", word.replace("%20", " "))).collect();
        let field = field_of(pointer);
        let message = format!("`{}` is not a valid value of `{}`", shown(text), shown(&field));
        let help = match nearest(text, words.iter()) {
            Some(near) => format!("did you mean `{}`?", near.replace("%20", " ")),
            None => format!("write {}", alternatives(&shown_words)),
        };
        let finding = Finding::error(self.index, pointer, error_code::OBJECT_FIELD_VALUE, message);
        self.found.push(finding.help(help));
    }

    /// What was meant by an unknown field: one that belongs deeper or higher, or one with a similar name.
    fn help_for(&self, key: &str, fields: &Fields, above: &[&'static str]) -> String {
        let has = |name: &str| self.document.fields(name).is_some_and(|it| it.contains_key(key));
        let deeper = fields.iter().find(|(_, form)| matches!(form, Form::Fields(name) if has(name)));
        if let Some((field, _)) = deeper {
            return format!("move it into `{field}`");
        }
        if let Some(near) = nearest(key, fields.keys()) {
            return format!("did you mean `{near}`?");
        }
        match above.iter().rev().skip(1).find(|name| has(name)) {
            Some(name) => format!("it is a field of {}: move it there", kind_of(name)),
            None => String::new(),
        }
    }

    /// Items that server-side apply can't tell apart.
    fn twice(&mut self, keys: &Keys, items: &[Value], pointer: &str) {
        let mut seen: BTreeMap<Vec<String>, usize> = BTreeMap::new();
        for (at, item) in items.iter().enumerate() {
            let Some((identity, key)) = identity_of(keys, item) else { continue };
            let first = *seen.entry(identity.clone()).or_insert(at);
            if first == at {
                continue;
            }
            let name = shown(&identity.join("/"));
            let message = format!("`{name}` is in the list twice; first as item {}", first + 1);
            let place = format!("{pointer}/{at}{key}");
            self.found.push(Finding::error(self.index, place, error_code::LIST_KEY_TWICE, message));
        }
    }

    /// What server-side apply asks of the items of a list that it merges.
    fn item(&mut self, keys: &Keys, value: &Value, pointer: &str) {
        if value.is_null() {
            let message = "an item of the list is null";
            let finding = match keys {
                Keys::None => Finding::warning(self.index, pointer, error_code::NULL_VALUE, message),
                Keys::Value | Keys::Fields(_) => {
                    Finding::error(self.index, pointer, error_code::NULL_VALUE, message)
                }
            };
            self.found.push(finding.help("write the item, or remove its dash"));
            return;
        }
        let (Keys::Fields(keys), Value::Object(map)) = (keys, value) else { return };
        for (key, default) in keys {
            if default.is_none() && map.get(*key).is_none_or(Value::is_null) {
                let message = format!("an item of this list has no `{key}`, by which it is known");
                let finding = Finding::error(self.index, pointer, error_code::LIST_KEY_MISSING, message);
                self.found.push(finding);
            }
        }
    }

    fn wrong_type(&mut self, pointer: &str, value: &Value, wanted: &str, help: &str) {
        let field = field_of(pointer);
        let message = format!("`{}` is {wanted}, not {}", shown(&field), described(value));
        let finding = Finding::error(self.index, pointer, error_code::OBJECT_FIELD_TYPE, message);
        self.found.push(finding.help(help));
    }
}

/// No server looks into the claims of a StatefulSet before it makes them.
fn is_claim_of_stateful_set(name: &str, above: &[&str]) -> bool {
    name.starts_with("core.v1.PersistentVolumeClaim") && above.contains(&"apps.v1.StatefulSetSpec")
}

/// The field that a pointer names: its last part that is no place in a list.
fn field_of(pointer: &str) -> String {
    let field = pointer.rsplit('/').find(|part| part.parse::<usize>().is_err()).unwrap_or_default();
    field.replace("~1", "/").replace("~0", "~")
}

/// `a`, `a or b`, `a, b or c`; of many only the first.
fn alternatives(words: &[String]) -> String {
    const SHOWN: usize = 8;
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] if words.len() <= SHOWN => format!("{} or {last}", first.join(", ")),
        many => format!("{} and so on", many[..SHOWN].join(", ")),
    }
}

/// By what an item is known in its list, and the pointer to the first of these fields; `None` when it is not known.
fn identity_of(keys: &Keys, item: &Value) -> Option<(Vec<String>, String)> {
    let word = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    match keys {
        Keys::None => None,
        Keys::Value => Some((vec![word(item)?], String::new())),
        Keys::Fields(fields) => {
            let values =
                fields.iter().map(|(key, default)| match item.get(*key).filter(|it| !it.is_null()) {
                    Some(value) => word(value),
                    None => default.map(str::to_owned),
                });
            let (first, _) = fields.first()?;
            Some((values.collect::<Option<_>>()?, format!("/{first}")))
        }
    }
}

/// What a value should be and how to write it, when it is of another type.
fn mismatch(form: &Form, value: &Value) -> Option<(&'static str, &'static str)> {
    let wrong = |is_wrong: bool, wanted, help| is_wrong.then_some((wanted, help));
    match form {
        Form::Any | Form::Text | Form::Word(_) => None,
        Form::Int32 => {
            let fits = whole(value).is_some_and(|it| i32::try_from(it).is_ok());
            wrong(!fits, "a whole number of 32 bits", number_help(value))
        }
        Form::Int64 => wrong(whole(value).is_none(), "a whole number", number_help(value)),
        Form::Number => wrong(!value.is_number(), "a number", number_help(value)),
        Form::Boolean => {
            wrong(!value.is_boolean(), "a truth value", "write `true` or `false`, without quotes")
        }
        Form::IntOrText => match value {
            Value::String(text) if !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit()) => {
                Some(("a number, a name or a percentage", "remove the quotes"))
            }
            Value::String(_) => None,
            value => wrong(whole(value).is_none(), "a number, a name or a percentage", ""),
        },
        Form::Quantity => {
            let fits = value.is_number() || value.as_str().is_some_and(is_quantity);
            wrong(!fits, "a quantity", "write a number with a suffix, such as `500m`, `1.5` or `64Mi`")
        }
        Form::List { .. } => wrong(!value.is_array(), "a list", "write each item behind a dash"),
        Form::Map(_) | Form::Fields(_) => wrong(!value.is_object(), "a map", "write its fields below it"),
    }
}

fn number_help(value: &Value) -> &'static str {
    let quoted = value.as_str().is_some_and(|text| text.parse::<f64>().is_ok());
    if quoted { "remove the quotes" } else { "" }
}

/// A value in words.
fn described(value: &Value) -> String {
    match value {
        Value::String(text) => format!("the text \"{}\"", shown(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a map".to_owned(),
        Value::Null | Value::Bool(_) | Value::Number(_) => format!("`{}`", shown(&value.to_string())),
    }
}

/// The name that is nearest to one, when it is near enough to be a slip.
fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n &'static str>) -> Option<&'static str> {
    let bound = (name.chars().count() / 3).max(1);
    let lower = name.to_lowercase();
    let distance = |it: &str| strsim::damerau_levenshtein(&lower, &it.to_lowercase());
    let near = names.map(|it| (distance(it), *it)).filter(|(distance, _)| *distance <= bound);
    near.min().map(|(_, it)| it)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_near_and_other_words_are_not() {
        let fields = Document::get().fields("core.v1.Container").expect("a type");
        let near = |name| nearest(name, fields.keys());
        assert_eq!(near("imagepullpolicy"), Some("imagePullPolicy"));
        assert_eq!(near("livenesProbe"), Some("livenessProbe"));
        assert_eq!(near("volumeMount"), Some("volumeMounts"));
        assert_eq!(near("replicas"), None);
    }
}
